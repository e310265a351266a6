"""Key layouts of Swin V2 checkpoints, mapped to mmpretrain's.

mm         ``stages.i.downsample`` opens stage i,
           ``stages.i.blocks.j.attn.w_msa.qkv``, ``ffn.layers.0.0``
Microsoft  ``layers.i.downsample`` closes stage i,
           ``layers.i.blocks.j.attn.qkv``, ``mlp.fc1``
timm       as Microsoft, but since timm 0.9 downsampling opens a stage

The norm of patch merging stands behind it in V2, so its weights are in no
order of neighbours.
"""
import re
from typing import Iterable

from mona_mm.backbones.swin.layouts import (
    FROM_MM,
    TO_MM,
    SwinNames,
    merge_order_from_mm,
    reordered,
)
from mona_mm.checkpoint.layouts import (
    Layout,
    Names,
    StateDict,
)
from mona_mm.registry import LAYOUTS

_BACK = (
    (r'^stages\.(\d+)\.downsample\.',
     lambda m: f'layers.{int(m[1]) - 1}.downsample.'),
    *FROM_MM,
    (r'^norm\d+\.', 'norm.'),
)
_CLOSED = r'^layers\.(\d+)(?=\.downsample\.)'
_REDUCTION = re.compile(r'\.downsample\.reduction\.weight$')


class TimmLayout(Layout):
    """timm's names: the last layer has a downsampling, the first none."""

    name = 'timm'
    rules = TO_MM

    def knows(self, keys: Iterable[str]) -> bool:
        """Whether there are layers, the first without a downsampling."""
        keys = list(keys)
        return any(k.startswith('layers.1.downsample.') for k in keys) and (
            not any(k.startswith('layers.0.downsample.') for k in keys))

    def to_mm(self, state: StateDict) -> StateDict:
        """Rename, and reorder what merges patches.

        Raises:
            CheckpointError: If a patch merging has no 4C inputs.
        """
        return reordered(super().to_mm(state), _REDUCTION)


class MicrosoftLayout(TimmLayout):
    """Microsoft's names: a downsampling closes a layer, and the last has
    none."""

    name = 'microsoft'
    rules = ((_CLOSED, lambda m: f'layers.{int(m[1]) + 1}'), *TO_MM)
    back = _BACK

    def knows(self, keys: Iterable[str]) -> bool:
        """Whether there are layers, the first with a downsampling."""
        keys = list(keys)
        return any(k.startswith('layers.0.blocks.') for k in keys) and (
            any(k.startswith('layers.0.downsample.') for k in keys)
            or not any(re.search(_CLOSED, k) for k in keys))

    def from_mm(self, state: StateDict) -> StateDict:
        """Undo it."""
        return {k: merge_order_from_mm(v) if _REDUCTION.search(k) else v
                for k, v in super().from_mm(state).items()}


@LAYOUTS.register_module()
class SwinV2Names(Names):
    """The names of Swin Transformers V2."""

    family = 'Swin Transformer V2'
    numbered = True
    layouts = (MicrosoftLayout(), TimmLayout())
    plain = re.compile(
        r'patch_embed\.(projection|norm)\.(weight|bias)'
        r'|norm\d+\.(weight|bias)'
        r'|stages\.\d+\.downsample\.(norm\.(weight|bias)|reduction\.weight)'
        r'|stages\.\d+\.blocks\.\d+\.('
        r'norm[123]\.(weight|bias)'
        r'|attn\.w_msa\.(qkv\.weight|proj\.(weight|bias)|[qv]_bias'
        r'|logit_scale|cpb_mlp\.(0\.(weight|bias)|2\.weight))'
        r'|ffn\.layers\.(0\.0|1)\.(weight|bias))')
    block = re.compile(r'(stages\.\d+\.blocks\.\d+)\.((?!norm3\.).+)')
    linears = SwinNames.linears
    derived = ('relative_position_index', 'relative_coords_table',
               'attn_mask')
