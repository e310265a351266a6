"""Key layouts of PVT checkpoints, mapped to mmdet's.

mm        ``layers.0.0.projection``, ``layers.0.1.0.pos_embed`` (v1),
          ``layers.0.1.2.attn.attn.in_proj_weight``, ``ffn.layers.0``,
          ``layers.0.2`` (v2: the norm after a stage)
official  ``patch_embed1.proj``, ``pos_embed1``, ``block1.0.attn.q``,
          ``attn.kv``, ``mlp.fc1``, ``mlp.dwconv.dwconv``, ``norm1``
timm      v2: ``patch_embed``, ``stages.1.downsample``,
          ``stages.0.blocks.0.attn.q``, ``mlp.dwconv``, ``stages.0.norm``
"""
import re
from typing import Dict, Iterable, List

import torch
from torch import Tensor

from mona_mm.checkpoint.layouts import (
    Layout,
    Names,
    StateDict,
    rename_keys,
    substitute,
)
from mona_mm.errors import CheckpointError
from mona_mm.registry import LAYOUTS

_BLOCK = re.compile(r'^block(\d)\.(\d+)\.')
_KV = re.compile(r'\.attn\.kv\.(weight|bias)$')
_Q = re.compile(r'\.attn\.q\.(weight|bias)$')
_POINTWISE = re.compile(r'\.mlp\.fc[12]\.weight$')
_TIMM = (
    (r'^patch_embed\.', 'patch_embed1.'),
    (r'^stages\.(\d)\.blocks\.',
     lambda m: f'block{int(m[1]) + 1}.'),
    (r'^stages\.(\d)\.downsample\.',
     lambda m: f'patch_embed{int(m[1]) + 1}.'),
    (r'^stages\.(\d)\.norm\.', lambda m: f'norm{int(m[1]) + 1}.'),
    (r'\.mlp\.dwconv\.(?=weight|bias)', '.mlp.dwconv.dwconv.'),
)


class OfficialLayout(Layout):
    """The authors' names: queries apart from keys and values, MLPs linear.

    mmdet has one ``in_proj`` for all three, and 1x1 convolutions.
    """

    name = 'official'
    mark = r'^block1\.'

    def to_mm(self, state: StateDict) -> StateDict:
        """Rename, join q with kv, give 1x1 convolutions their form.

        The class token's place comes first in the last position grid; there
        is no class token here.
        """
        grids = sorted(k for k in state if re.fullmatch(r'pos_embed\d', k))
        positions = bool(grids)
        if positions and 'cls_token' in state:
            state = {**state, grids[-1]: state[grids[-1]][:, 1:]}
        depthwise = any('.dwconv.' in k for k in state)
        joined = {_Q.sub(r'.attn.attn.in_proj_\1', k): v
                  for k, v in _joined(state).items()}
        rules = (
            # mmdet has the position grid before the blocks, in their list.
            (_BLOCK, lambda m: f'layers.{int(m[1]) - 1}.1.'
             f'{int(m[2]) + positions}.'),
            (r'^patch_embed(\d)\.',
             lambda m: f'layers.{int(m[1]) - 1}.0.'),
            (r'^(layers\.\d\.0)\.proj\.', r'\1.projection.'),
            (r'^pos_embed(\d)$',
             lambda m: f'layers.{int(m[1]) - 1}.1.0.pos_embed'),
            (r'^norm(\d)\.', lambda m: f'layers.{int(m[1]) - 1}.2.'),
            (r'\.attn\.proj\.', '.attn.attn.out_proj.'),
            (r'\.mlp\.fc1\.', '.ffn.layers.0.'),
            (r'\.mlp\.dwconv\.dwconv\.', '.ffn.layers.1.'),
            (r'\.mlp\.fc2\.', '.ffn.layers.%d.' % (4 if depthwise else 3)))
        return rename_keys(
            {k: v[:, :, None, None]
             if _POINTWISE.search(k) and v.ndim == 2 else v
             for k, v in joined.items()},
            lambda key: substitute(key, rules))


class TimmLayout(OfficialLayout):
    """timm's names of v2."""

    name = 'timm'
    #: OpenMMLab's Swin has blocks of that name too, without queries apart.
    mark = r'^stages\.0\.blocks\.0\.attn\.q\.'

    def to_mm(self, state: StateDict) -> StateDict:
        """By way of the authors' names."""
        return super().to_mm(
            rename_keys(state, lambda key: substitute(key, _TIMM)))


def _joined(state: StateDict) -> Dict[str, Tensor]:
    """The state with queries on top of keys and values, under q's name."""
    joined = {}
    for key, value in state.items():
        if _KV.search(key):
            if _KV.sub(r'.attn.q.\1', key) not in state:
                raise CheckpointError(f'{key!r} is there without its queries')
            continue
        if _Q.search(key):
            other = _Q.sub(r'.attn.kv.\1', key)
            if other not in state:
                raise CheckpointError(f'{key!r} is there without {other!r}')
            value = torch.cat([value, state[other]])
        joined[key] = value
    return joined


@LAYOUTS.register_module()
class PVTNames(Names):
    """The names of PVT, both versions."""

    family = 'Pyramid Vision Transformer'
    layouts = (OfficialLayout(), TimmLayout())
    plain = re.compile(
        r'layers\.\d+\.('
        r'0\.(projection|norm)\.(weight|bias)'
        r'|1\.0\.pos_embed'
        r'|2\.(weight|bias)'
        r'|1\.\d+\.(norm[12]\.(weight|bias)'
        r'|attn\.(attn\.(in_proj_|out_proj\.)|sr\.|norm\.)(weight|bias)'
        r'|ffn\.layers\.[0134]\.(weight|bias)))')
    block = re.compile(r'(layers\.\d+\.1\.\d+)\.((?!pos_embed$).+)')
    linears = dict(proj='attn.attn.out_proj')
    #: The final norm of v1 belongs to the class token.
    heads = ('head.', 'norm.', 'cls_token')

    def missing(self, names: Iterable[str]) -> List[str]:
        """Nothing is told: blocks differ, by their spatial reduction."""
        return []
