"""Key layouts of Swin checkpoints, mapped to OpenMMLab's.

mm         ``stages.i.blocks.j.attn.w_msa.qkv.weight``
Microsoft  ``layers.i.blocks.j.attn.qkv.weight``; the paper's release too,
           with its inserted modules inside the blocks
timm       as Microsoft, but since timm 0.9 patch merging opens a stage
           (``layers.{i + 1}.downsample``) instead of closing one
"""
import re
from typing import Iterable, List, Optional

import torch
from torch import Tensor

from mona_mm.checkpoint.layouts import (
    Layout,
    Names,
    StateDict,
    uneven,
)
from mona_mm.errors import CheckpointError
from mona_mm.registry import LAYOUTS

TO_MM = (
    (r'^patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'^layers\.', 'stages.'),
    (r'(\.blocks\.\d+)\.attn\.(?!w_msa\.)', r'\1.attn.w_msa.'),
    (r'(\.blocks\.\d+)\.mlp\.fc1\.', r'\1.ffn.layers.0.0.'),
    (r'(\.blocks\.\d+)\.mlp\.fc2\.', r'\1.ffn.layers.1.'),
)
FROM_MM = (
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    (r'^stages\.', 'layers.'),
    (r'(\.blocks\.\d+)\.attn\.w_msa\.', r'\1.attn.'),
    (r'(\.blocks\.\d+)\.ffn\.layers\.0\.0\.', r'\1.mlp.fc1.'),
    (r'(\.blocks\.\d+)\.ffn\.layers\.1\.', r'\1.mlp.fc2.'),
)
_LAYER = re.compile(r'layers\.(\d+)\.(blocks|downsample)\.')
_STAGE = re.compile(r'stages\.(\d+)\.')
_MERGING_PART = re.compile(r'(stages\.\d+\.downsample)\.(.+)')
_INDEX, _TABLE = 'relative_position_index', 'relative_position_bias_table'
_MERGING = re.compile(r'\.downsample\.(reduction|norm)\.')


class Microsoft(Layout):
    """The names of Microsoft's code, and of timm's before 0.9."""

    name = 'microsoft'
    mark = f'^{_LAYER.pattern}'
    rules, back = TO_MM, FROM_MM

    def to_mm(self, state: StateDict) -> StateDict:
        """Rename, and bring patch merging into mm's order.

        Raises:
            CheckpointError: If two tensors would get the same name, or one
                of a patch merging has no 4C inputs.
        """
        return reordered(super().to_mm(state), _MERGING)

    def from_mm(self, state: StateDict) -> Optional[StateDict]:
        """Undo :meth:`to_mm`."""
        found = super().from_mm(state)
        return found and {
            k: merge_order_from_mm(v) if _MERGING.search(k) else v
            for k, v in found.items()}


class Timm(Microsoft):
    """The names of timm since 0.9."""

    name = 'timm'
    rules, back = (*TO_MM, (r'^stages\.(\d+)(?=\.downsample\.)',
                            lambda m: f'stages.{int(m[1]) - 1}')), ()

    def knows(self, keys: Iterable[str]) -> bool:
        """Whether the last of the ``layers`` merges patches."""
        found = [m.groups() for m in map(_LAYER.match, keys) if m]
        last = max((int(stage) for stage, _ in found), default=0)
        # Microsoft's last stage has nothing to merge for.
        return last > 0 and (str(last), 'downsample') in found


def reordered(state: StateDict, merging: 're.Pattern[str]') -> StateDict:
    """A state with what merges patches in mm's order.

    Args:
        state (dict[str, Tensor]): Under mm names.
        merging (re.Pattern): Of their names.

    Raises:
        CheckpointError: If one of them has no 4C inputs.
    """
    found = dict(state)
    for key in filter(merging.search, state):
        if state[key].ndim == 0 or state[key].shape[-1] % 4:
            raise CheckpointError(f"{key!r} cannot be patch merging's: its "
                                  f'shape is {tuple(state[key].shape)}')
        found[key] = merge_order_to_mm(state[key])
    return found


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


@LAYOUTS.register_module()
class SwinNames(Names):
    """The names of all Swin Transformers."""

    family = 'Swin Transformer'
    numbered = True
    layouts = (Timm(), Microsoft())
    release = layouts[1]
    plain = re.compile(
        r'patch_embed\.(projection|norm)\.(weight|bias)'
        r'|norm\d+\.(weight|bias)'
        r'|stages\.\d+\.downsample\.(norm\.(weight|bias)|reduction\.weight)'
        r'|stages\.\d+\.blocks\.\d+\.('
        r'norm[12]\.(weight|bias)'
        r'|attn\.w_msa\.((qkv|proj)\.(weight|bias)'
        r'|relative_position_bias_table)'
        r'|ffn\.layers\.(0\.0|1)\.(weight|bias))')
    block = re.compile(r'(stages\.\d+\.blocks\.\d+)\.(.+)')
    linears = dict(qkv='attn.w_msa.qkv', proj='attn.w_msa.proj',
                   fc1='ffn.layers.0.0', fc2='ffn.layers.1')
    derived = (_INDEX, 'attn_mask')

    def missing(self, names: Iterable[str]) -> List[str]:
        """What some blocks, or some patch mergings, have and others lack."""
        names = list(names)
        merging = [m for m in map(_MERGING_PART.fullmatch, names) if m]
        stages = {int(m[1]) for m in map(_STAGE.match, names) if m}
        stages = sorted(stages)[:-1] if merging else []
        return super().missing(names) + uneven(
            merging, [f'stages.{i}.downsample' for i in stages])

    def buffers(self, state: StateDict) -> StateDict:
        """Which row of a bias table each pair of positions uses.

        A table, ((2 w - 1)^2, heads), of a window of side w has an index
        (w * w, w * w).
        """
        found = {}
        for name in state:
            if name.endswith(_TABLE):
                span = round(len(state[name])**0.5)
                side = torch.arange((span + 1) // 2)
                at = torch.cartesian_prod(side, side)
                apart = at[:, None] - at[None] + len(side) - 1
                found[name.replace(_TABLE, _INDEX)] = (
                    apart[..., 0] * span + apart[..., 1])
        return found
