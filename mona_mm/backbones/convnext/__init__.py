"""ConvNeXt (arXiv 2201.03545) and V2 (arXiv 2301.00808) with tuners."""
import re
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from mmpretrain.models.backbones.convnext import ConvNeXt, ConvNeXtBlock
from mmpretrain.models.utils import GRN
from torch import Tensor, nn

from mona_mm.registry import MODELS
from mona_mm.tuners import Tuner

from ..family import (
    LinspaceOnCPU,
    NumberedNorms,
    TunedFamily,
    arch_arguments,
    refuse_frozen_stages,
    unusual,
)
from ..tuned import Slot
from .blocks import TunedConvNeXtBlock
from .layouts import ConvNeXtNames

__all__ = ['TunedConvNeXt']

_POINTWISE = re.compile(r'\.pointwise_conv[12]\.weight$')


@MODELS.register_module()
class TunedConvNeXt(NumberedNorms, TunedFamily, ConvNeXt):
    """mmpretrain's ConvNeXt, tuned by any method that its sites can serve.

    A block has one branch, without attention. A method that asks for the
    same place of both branches (``after_attn`` and ``after_ffn``) stands at
    the one that is there, so once per block.

    Args:
        arch (str | dict): ``'tiny'``, ``'base'`` and so on, or a dict with
            ``depths`` and ``channels``. Defaults to ``'tiny'``.
        tuner (dict): The tuning method. Defaults to ``dict(type='Full')``.
        keep_frozen (Sequence[str]): Beginnings of names of pretrained
            parameters that stay frozen with every tuner. Defaults to ().
        out_indices (Sequence[int]): Stages to output. Defaults to all four.
        drop_path_rate (float): Stochastic depth. Defaults to 0.
        use_grn (bool): V2's blocks, which come without layer scale (unless
            ``layer_scale_init_value`` says otherwise). Defaults to False.
        gap_before_final_norm (bool): Output averaged vectors, as
            classification does. Defaults to False, maps.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        line_by_line (bool): Run inserted modules as they are written in the
            papers. Defaults to False.
        skip_dropped (bool | str): Do not compute the branches that drop-path
            zeroes. ``'auto'``: on a CPU. Defaults to ``'auto'``.
        in_channels (int): Of the images. Defaults to 3.
        fit_channels (str, optional): See
            :func:`~mona_mm.backbones.channels.fit_stem`.
        base_dtype (str, optional): ``'bfloat16'`` stores the frozen linear
            layers in that dtype alone.
        allow_random_base (bool): Accept a frozen base without pretrained
            weights. Defaults to False.
        map_final_norm (bool): Load a classifier's final norm into the last
            output norm. Defaults to False.
        init_cfg (dict, optional): ``dict(type='Pretrained',
            checkpoint=...)``: path or URL of the base, in the layout of
            OpenMMLab, Meta, timm or torchvision. By default mmpretrain's
            initialisation.
        **kwargs: Further arguments of mmpretrain's ``ConvNeXt``.

    Raises:
        ValueError: If ``frozen_stages`` is given, or the tuner asks for a
            site that the blocks do not offer, or an argument is none of its
            values.
    """

    stem = 'downsample_layers.0.0.weight'
    sites = ('ffn_in', 'ffn_out', 'beside_ffn', 'after_ffn', 'fc1', 'fc2',
             'side')
    twins = dict(attn_in='ffn_in', attn_out='ffn_out',
                 beside_attn='beside_ffn', after_attn='after_ffn')
    #: GRN counts: it normalises, with a weight and a bias per channel.
    norms = (nn.LayerNorm, GRN)
    layouts, derived = ConvNeXtNames.layouts, ConvNeXtNames.derived
    plain_class = ConvNeXt

    def __init__(self,
                 arch: Union[str, dict] = 'tiny',
                 tuner: Optional[dict] = None,
                 keep_frozen: Sequence[str] = (),
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 drop_path_rate: float = 0.,
                 use_grn: bool = False,
                 gap_before_final_norm: bool = False,
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
        refuse_frozen_stages(type(self).__name__, kwargs, none=0)
        if use_grn:
            kwargs.setdefault('layer_scale_init_value', 0.)
        if init_cfg is not None:
            kwargs['init_cfg'] = init_cfg
        with LinspaceOnCPU():
            super().__init__(
                arch=arch,
                out_indices=list(out_indices),
                drop_path_rate=drop_path_rate,
                use_grn=use_grn,
                gap_before_final_norm=gap_before_final_norm,
                with_cp=with_cp,
                in_channels=in_channels,
                **kwargs)
        self.use_grn = use_grn
        if not self.stages[0][0].linear_pw_conv:
            self.sites = tuple(s for s in self.sites
                               if s not in ('fc1', 'fc2'))
        self.tune(tuner, keep_frozen, line_by_line, skip_dropped, in_channels,
                  fit_channels, base_dtype, allow_random_base, map_final_norm)

    @classmethod
    def plain_arguments(cls, given: Mapping[str, Any]) -> Dict[str, Any]:
        """V2 comes without layer scale here."""
        found = super().plain_arguments(given)
        if found.get('use_grn'):
            found.setdefault('layer_scale_init_value', 0.)
        return found

    def block_slots(self) -> Iterator[Slot]:
        """The blocks up to the last output, in order."""
        for s, stage in enumerate(self.stages[:max(self.out_indices) + 1]):
            for b in range(len(stage)):
                yield Slot(f'stages.{s}.{b}', stage, b)

    def tune_block(self, block: ConvNeXtBlock,
                   tuner: Tuner) -> TunedConvNeXtBlock:
        """Rebuild one block with the tuner's modules at its sites."""
        return TunedConvNeXtBlock(block, tuner)

    def unused(self, tuner: Tuner) -> List[str]:
        """Stages behind the last output; its norms under a side network."""
        behind = range(max(self.out_indices) + 1, self.num_stages)
        found = [f'{part}.{i}.' for i in behind
                 for part in ('downsample_layers', 'stages')]
        if 'side' in tuner.sites:
            found += [f'norm{i}.' for i in self.out_indices]
        return found

    def fit(self, name: str, given: Tensor,
            own: Tensor) -> Tuple[Tensor, str]:
        """Point-wise layers as linear layers or as 1x1 convolutions."""
        if _POINTWISE.search(name) and given.shape[:2] == own.shape[:2] and (
                given.numel() == own.numel()):
            return given.view_as(own), ''
        return super().fit(name, given, own)

    def facts(self) -> dict:
        """What a checkpoint must agree with, beyond shapes."""
        return dict(
            family='convnext',
            depths=list(self.depths),
            channels=list(self.channels),
            use_grn=self.use_grn,
            gap_before_final_norm=self.gap_before_final_norm,
            out_indices=list(self.out_indices),
            **unusual(in_channels=(self.in_channels, 3),
                      fit_channels=(self.fit_channels, None)))

    def arguments(self, facts: dict) -> dict:
        """The arguments behind facts: an arch by its name if it has one."""
        arch = {k: facts.get(k) for k in ('depths', 'channels')}
        return dict(
            arch_arguments(arch, self.arch_settings),
            use_grn=facts.get('use_grn'),
            gap_before_final_norm=facts.get('gap_before_final_norm'),
            out_indices=facts.get('out_indices'),
            in_channels=facts.get('in_channels', 3),
            fit_channels=facts.get('fit_channels'))

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Extract feature maps.

        Args:
            x (Tensor): Images, (B, in_channels, H, W).

        Returns:
            tuple[Tensor, ...]: One (B, C_i, H_i, W_i) per output stage, with
            strides 4, 8, 16, 32; or (B, C_i) with
            ``gap_before_final_norm``; or the maps of the tuner's side
            network.

        Raises:
            RuntimeError: In training or inside a Runner, if the frozen base
                was never loaded.
        """
        self.frozen.require()
        return self.beside(x, super().forward)
