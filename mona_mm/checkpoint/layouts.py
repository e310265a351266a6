"""Key layouts of Swin checkpoints, mapped to OpenMMLab's.

mm         ``stages.i.blocks.j.attn.w_msa.qkv.weight``
Microsoft  ``layers.i.blocks.j.attn.qkv.weight``; the paper's release too,
           with its inserted modules inside the blocks
"""
import re
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

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


class BaseState(NamedTuple):
    """A backbone's tensors under mm names.

    Attributes:
        tensors (dict[str, Tensor]): Without the ``backbone.`` prefix.
        layout (str): ``'mm'`` or ``'microsoft'``, the layout of the file.
        left (tuple[str, ...]): Keys outside the backbone (heads), left out.
    """
    tensors: StateDict
    layout: str
    left: Tuple[str, ...]


def unwrap(content: Mapping[str, Any], source: str = 'checkpoint') -> StateDict:
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
        CheckpointError: If nothing has the given prefix.
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
    microsoft = any(k.startswith('layers.') for k in inside)
    if microsoft:
        inside = _from_microsoft(inside)
    inside = {_rename_path(k, renames): v for k, v in inside.items()}
    return BaseState(inside, 'microsoft' if microsoft else 'mm', left)


def _from_microsoft(state: StateDict) -> StateDict:
    converted = {}
    for key, value in state.items():
        for pattern, replacement in _MICROSOFT:
            key = re.sub(pattern, replacement, key)
        if '.downsample.reduction.' in key or '.downsample.norm.' in key:
            value = _merge_order_to_mm(value)
        converted[key] = value
    return converted


def _merge_order_to_mm(value: Tensor) -> Tensor:
    """Reorder the 4C inputs of patch merging (last axis).

    Microsoft concatenates the neighbours (0, 0), (1, 0), (0, 1), (1, 1), each
    with all its channels; mm unfolds, so that each channel holds its four
    neighbours in row-major order.
    """
    neighbours = value.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return neighbours.transpose(-1, -2).flatten(-2)


def _rename_path(key: str, renames: Mapping[str, str]) -> str:
    return '.'.join(renames.get(part, part) for part in key.split('.'))
