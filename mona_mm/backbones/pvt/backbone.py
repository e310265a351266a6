"""PVT (arXiv 2102.12122) and v2 (arXiv 2106.13797) with tuners."""
import re
from typing import Iterator, List, Tuple

from mmdet.models.backbones.pvt import (
    PVTEncoderLayer,
    PyramidVisionTransformer,
    PyramidVisionTransformerV2,
)
from torch import Tensor

from mona_mm.registry import MODELS
from mona_mm.tuners import Tuner

from ..family import TunedFamily, resize_grid
from ..tuned import Slot
from .blocks import TunedPVTLayer
from .layouts import PVTNames

_POSITIONS = re.compile(r'^layers\.\d\.1\.0\.pos_embed$')


class _TunedPVT(TunedFamily):
    """What both versions share."""

    stem = 'layers.0.0.projection.weight'
    sites = ('attn_in', 'attn_out', 'beside_attn', 'after_attn', 'ffn_in',
             'ffn_out', 'beside_ffn', 'after_ffn', 'proj', 'side')
    layouts, derived = PVTNames.layouts, PVTNames.derived
    heads = PVTNames.heads

    own_facts = ('embed_dims', 'num_layers', 'num_heads', 'sr_ratios',
                 'out_indices')

    def __init__(self, *, with_cp: bool = False, **kwargs) -> None:
        self._with_cp = with_cp
        super().__init__(**kwargs)

    def block_slots(self) -> Iterator[Slot]:
        """The encoder layers up to the last output, in order."""
        used = max(self.out_indices) + 1
        for s, (_, blocks, _) in enumerate(self.layers[:used]):
            for b, block in enumerate(blocks):
                if isinstance(block, (PVTEncoderLayer, TunedPVTLayer)):
                    yield Slot(f'layers.{s}.1.{b}', blocks, b)

    def tune_block(self, block: PVTEncoderLayer,
                   tuner: Tuner) -> TunedPVTLayer:
        """Rebuild one encoder layer with the tuner's modules."""
        return TunedPVTLayer(block, tuner, self._with_cp)

    def unused(self, tuner: Tuner) -> List[str]:
        """Stages behind the last output; its norm under a side network."""
        last = max(self.out_indices)
        found = [f'layers.{i}.' for i in range(last + 1, self.num_stages)]
        if 'side' in tuner.sites and list(self.layers[last][2].parameters()):
            found.append(f'layers.{last}.2.')
        return found

    def fit(self, name: str, given: Tensor,
            own: Tensor) -> Tuple[Tensor, str]:
        """Resize position grids (1, N, C) of square pictures."""
        if not _POSITIONS.search(name) or given.shape == own.shape:
            return super().fit(name, given, own)
        side = round(own.shape[1]**.5)
        found = None
        if side * side == own.shape[1]:
            found = resize_grid(given, own, (side, side), 'bicubic')
        return (given, '') if found is None else (
            found,
            'pos_embed: interpolated, because pretrain_img_size is not the '
            'one that the base was trained with; images may have any size '
            'without it')


@MODELS.register_module()
class TunedPyramidVisionTransformer(_TunedPVT, PyramidVisionTransformer):
    """mmdet's PVT, tuned by any method that its sites can serve.

    A state dict of mmdet's class fits. There is no class token: only the
    classifier has one, in its last stage.

    Args:
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        **kwargs: See :class:`~mona_mm.backbones.family.TunedFamily`
            (``map_final_norm`` has no effect: there are no output norms) and
            mmdet's class (``num_layers``, ``num_heads`` and so on).
    """

    family = 'pvt'
    plain_class = PyramidVisionTransformer


@MODELS.register_module()
class TunedPyramidVisionTransformerV2(_TunedPVT, PyramidVisionTransformerV2):
    """mmdet's PVT v2, tuned by any method that its sites can serve.

    Args:
        **kwargs: See :class:`TunedPyramidVisionTransformer`.
    """

    family = 'pvt_v2'
    plain_class = PyramidVisionTransformerV2
