"""PVT (arXiv 2102.12122) and v2 (arXiv 2106.13797) with tuners."""
import re
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

from mmdet.models.backbones.pvt import (
    PVTEncoderLayer,
    PyramidVisionTransformer,
    PyramidVisionTransformerV2,
)
from torch import Tensor

from mona_mm.registry import MODELS
from mona_mm.tuners import Tuner

from ..family import LinspaceOnCPU, TunedFamily, resize_grid, unusual
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

    def __init__(self,
                 tuner: Optional[dict] = None,
                 keep_frozen: Sequence[str] = (),
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 drop_path_rate: float = 0.1,
                 with_cp: bool = False,
                 line_by_line: bool = False,
                 skip_dropped: Union[bool, str] = 'auto',
                 in_channels: int = 3,
                 fit_channels: Optional[str] = None,
                 base_dtype: Optional[str] = None,
                 allow_random_base: bool = False,
                 map_final_norm: bool = False,
                 init_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        self._with_cp = with_cp
        with LinspaceOnCPU():
            super().__init__(
                out_indices=tuple(out_indices),
                drop_path_rate=drop_path_rate,
                in_channels=in_channels,
                init_cfg=init_cfg,
                **kwargs)
        self.tune(tuner, keep_frozen, line_by_line, skip_dropped, in_channels,
                  fit_channels, base_dtype, allow_random_base, map_final_norm)

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

    def output_norms(self) -> Dict[int, str]:
        """None: v2's norms stand inside, before the next stage."""
        return {}

    def place(self, tensors: Dict[str, Tensor], map_final_norm: bool
              ) -> Tuple[Dict[str, Tensor], List[str]]:
        """Leave out what only classifiers have."""
        placed = {k: v for k, v in tensors.items()
                  if not k.startswith(PVTNames.heads)}
        return placed, [k for k in tensors if k not in placed]

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

    def facts(self) -> dict:
        """What a checkpoint must agree with, beyond shapes."""
        return dict(
            family=self.family,
            embed_dims=self.embed_dims,
            num_layers=list(self.num_layers),
            num_heads=list(self.num_heads),
            sr_ratios=list(self.sr_ratios),
            out_indices=list(self.out_indices),
            **unusual(in_channels=(self.in_channels, 3),
                      fit_channels=(self.fit_channels, None)))

    def arguments(self, facts: dict) -> dict:
        """The arguments behind facts."""
        named = {k: facts.get(k) for k in (
            'embed_dims', 'num_layers', 'num_heads', 'sr_ratios',
            'out_indices')}
        return dict(named, in_channels=facts.get('in_channels', 3),
                    fit_channels=facts.get('fit_channels'))

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Extract feature maps.

        Args:
            x (Tensor): Images, (B, in_channels, H, W).

        Returns:
            tuple[Tensor, ...]: One (B, C_i, H_i, W_i) per output stage, with
            strides 4, 8, 16, 32; or the maps of the tuner's side network.

        Raises:
            RuntimeError: In training or inside a Runner, if the frozen base
                was never loaded.
        """
        self.frozen.require()
        return tuple(self.beside(x, super().forward))


@MODELS.register_module()
class TunedPyramidVisionTransformer(_TunedPVT, PyramidVisionTransformer):
    """mmdet's PVT, tuned by any method that its sites can serve.

    A state dict of mmdet's class fits. There is no class token: only the
    classifier has one, in its last stage.

    Args:
        tuner (dict): The tuning method. Defaults to ``dict(type='Full')``.
        keep_frozen (Sequence[str]): Beginnings of names of pretrained
            parameters that stay frozen with every tuner. Defaults to ().
        out_indices (Sequence[int]): Stages to output. Defaults to all four.
        drop_path_rate (float): Stochastic depth. Defaults to 0.1.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        line_by_line (bool): Run attention and inserted modules as they are
            written. Defaults to False.
        skip_dropped (bool | str): Do not compute the branches that drop-path
            zeroes. ``'auto'``: on a CPU. Defaults to ``'auto'``.
        in_channels (int): Of the images. Defaults to 3.
        fit_channels (str, optional): See
            :func:`~mona_mm.backbones.channels.fit_stem`.
        base_dtype (str, optional): ``'bfloat16'`` stores the frozen linear
            layers in that dtype alone.
        allow_random_base (bool): Accept a frozen base without pretrained
            weights. Defaults to False.
        map_final_norm (bool): Has no effect: there are no output norms.
        init_cfg (dict, optional): ``dict(type='Pretrained',
            checkpoint=...)``: path or URL of the base, in mmdet's layout or
            the authors' (v2: or timm's).
        **kwargs: Further arguments of mmdet's class (``num_layers``,
            ``num_heads`` and so on).

    Raises:
        ValueError: If the tuner asks for a site that the blocks do not
            offer, or an argument is none of its values.
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
