"""Key layouts of Swin checkpoints, mapped to OpenMMLab's.

mm         ``stages.i.blocks.j.attn.w_msa.qkv.weight``
Microsoft  ``layers.i.blocks.j.attn.qkv.weight``; the paper's release too,
           with its inserted modules inside the blocks
timm       as Microsoft, but since timm 0.9 patch merging opens a stage
           (``layers.{i + 1}.downsample``) instead of closing one
"""
import re
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
)

from torch import Tensor

from mona_mm.errors import CheckpointError

StateDict = Dict[str, Tensor]

_MICROSOFT = (
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^layers\.', 'stages.'),
    (r'(\.blocks\.\d+)\.attn\.(?!w_msa\.)', r'\1.attn.w_msa.'),
    (r'(\.blocks\.\d+)\.mlp\.fc1\.', r'\1.ffn.layers.0.0.'),
    (r'(\.blocks\.\d+)\.mlp\.fc2\.', r'\1.ffn.layers.1.'),
)
_TO_MICROSOFT = (
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    (r'^stages\.', 'layers.'),
    (r'(\.blocks\.\d+)\.attn\.w_msa\.', r'\1.attn.'),
    (r'(\.blocks\.\d+)\.ffn\.layers\.0\.0\.', r'\1.mlp.fc1.'),
    (r'(\.blocks\.\d+)\.ffn\.layers\.1\.', r'\1.mlp.fc2.'),
)
_LAYER = re.compile(r'layers\.(\d+)\.(\w+)')
_DOWNSAMPLED_STAGE = re.compile(r'^stages\.(\d+)(?=\.downsample\.)')
_MERGING = re.compile(r'\.downsample\.(reduction|norm)\.')


class BaseState(NamedTuple):
    """A backbone's tensors under mm names.

    Attributes:
        tensors (dict[str, Tensor]): Without the ``backbone.`` prefix.
        layout (str): ``'mm'``, ``'microsoft'`` or ``'timm'``, the layout of
            the file.
        left (tuple[str, ...]): Keys outside the backbone (heads), left out.
    """
    tensors: StateDict
    layout: str
    left: Tuple[str, ...]


def unwrap(content: Mapping[str, Any],
           source: str = 'checkpoint') -> StateDict:
    """Find the state dict in what a checkpoint file holds.

    Args:
        content (Mapping): The file's content: a state dict, or a dict with
            one under ``state_dict`` or ``model``.
        source (str): Named in errors.

    Raises:
        CheckpointError: If there is no state dict in it.
    """
    for key in ('state_dict', 'model'):
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {
        k.removeprefix('module.'): v
        for k, v in content.items() if isinstance(v, Tensor)
    }
    if not tensors:
        raise CheckpointError(
            f'{source}: no weights in it; expected a state dict, bare or '
            "under 'state_dict' or 'model', but found the keys "
            f'{sorted(map(str, content))[:8]}')
    return tensors


def base_state(state: StateDict,
               prefix: Optional[str] = None,
               renames: Mapping[str, str] = {}) -> BaseState:
    """Bring a backbone's tensors under mm names.

    Args:
        state (dict[str, Tensor]): Of a backbone, or of a whole model.
        prefix (str, optional): Where the backbone is in it. By default
            ``'backbone.'`` if any key has it, else the top.
        renames (Mapping[str, str]): Path components to rename on top, for
            instance how the release calls a tuner's modules.

    Raises:
        CheckpointError: If nothing has the given prefix, or two tensors
            would get the same name.
    """
    if prefix is None:
        found = any(k.startswith('backbone.') for k in state)
        prefix = 'backbone.' if found else ''
    elif prefix and not prefix.endswith('.'):
        prefix += '.'
    inside = {
        k[len(prefix):]: v
        for k, v in state.items() if k.startswith(prefix)
    }
    if not inside:
        raise CheckpointError(
            f'no key starts with {prefix!r}; the keys start with '
            f'{sorted({k.split(".")[0] for k in state})}')
    left = tuple(k for k in state if not k.startswith(prefix))
    layout = layout_of(inside)
    tensors = rename_keys(
        to_mm(inside, layout), lambda key: rename_path(key, renames))
    return BaseState(tensors, layout, left)


def layout_of(keys: Iterable[str]) -> str:
    """Tell ``'microsoft'`` and ``'timm'`` from ``'mm'``.

    Args:
        keys (Iterable[str]): Of a backbone, without prefix. Older timm files
            count as Microsoft's, whose names they have.
    """
    found = [m.groups() for m in map(_LAYER.match, keys) if m]
    if not found:
        return 'mm'
    last = max(int(stage) for stage, _ in found)
    # Microsoft's last stage has nothing to merge for.
    shifted = last > 0 and (str(last), 'downsample') in found
    return 'timm' if shifted else 'microsoft'


def to_mm(state: StateDict, layout: str) -> StateDict:
    """Rename a backbone's tensors to mm's names, in mm's merging order.

    Args:
        state (dict[str, Tensor]): Of a backbone, without prefix.
        layout (str): What :func:`layout_of` says of it.

    Raises:
        CheckpointError: If two tensors would get the same name, or one of a
            patch merging has no 4C inputs.
    """
    if layout == 'mm':
        return state

    def mm_name(key: str) -> str:
        """One key's name in mm layout."""
        key = _substitute(key, _MICROSOFT)
        if layout == 'timm':
            key = _DOWNSAMPLED_STAGE.sub(_stage_before, key)
        return key

    renamed = rename_keys(state, mm_name)
    for key in filter(_MERGING.search, renamed):
        if renamed[key].ndim == 0 or renamed[key].shape[-1] % 4:
            raise CheckpointError(f'{key!r} cannot be patch merging\'s: its '
                                  f'shape is {tuple(renamed[key].shape)}')
        renamed[key] = merge_order_to_mm(renamed[key])
    return renamed


def from_mm(state: StateDict) -> StateDict:
    """Rename a backbone's tensors to Microsoft's names and merging order.

    Args:
        state (dict[str, Tensor]): Under mm names, without prefix.
    """
    return {
        _substitute(k, _TO_MICROSOFT):
        merge_order_from_mm(v) if _MERGING.search(k) else v
        for k, v in state.items()
    }


def merge_order_to_mm(value: Tensor) -> Tensor:
    """Reorder the 4C inputs of patch merging (last axis).

    Microsoft and timm concatenate the neighbours (0, 0), (1, 0), (0, 1),
    (1, 1), each with all its channels; mm unfolds, so that each channel holds
    its four neighbours in row-major order.
    """
    neighbours = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return neighbours.transpose(-1, -2).flatten(-2)


def merge_order_from_mm(value: Tensor) -> Tensor:
    """Undo :func:`merge_order_to_mm`."""
    neighbours = value.unflatten(-1, (-1, 4)).transpose(-1, -2)
    return neighbours[..., [0, 2, 1, 3], :].flatten(-2)


def rename_keys(state: StateDict,
                new_name: Callable[[str], str]) -> StateDict:
    """Rename every tensor.

    Args:
        state (dict[str, Tensor]): Is not changed.
        new_name (Callable): From key to key.

    Raises:
        CheckpointError: If two tensors would get the same name.
    """
    renamed, old = {}, {}
    for key, value in state.items():
        name = new_name(key)
        if name in renamed:
            raise CheckpointError(f'{old[name]!r} and {key!r} both stand for '
                                  f'{name!r}')
        renamed[name], old[name] = value, key
    return renamed


def rename_path(key: str, renames: Mapping[str, str]) -> str:
    """Rename a dotted name that is listed, else its components that are."""
    if key in renames:
        return renames[key]
    return '.'.join(renames.get(part, part) for part in key.split('.'))


def _substitute(key: str, rules: Iterable[Tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _stage_before(match: 're.Match[str]') -> str:
    return f'stages.{int(match.group(1)) - 1}'
