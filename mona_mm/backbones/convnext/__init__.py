"""ConvNeXt (arXiv 2201.03545) and V2 (arXiv 2301.00808) with tuners."""
import re
from typing import (
    Any,
    Dict,
    Iterator,
    Mapping,
    Sequence,
    Tuple,
    Union,
)

from mmpretrain.models.backbones.convnext import ConvNeXt, ConvNeXtBlock
from mmpretrain.models.utils import GRN
from torch import Tensor, nn

from mona_mm.registry import MODELS
from mona_mm.tuners import Tuner

from ..family import NumberedNorms, TunedFamily
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
        out_indices (Sequence[int]): Stages to output. Defaults to all four.
        drop_path_rate (float): Stochastic depth. Defaults to 0.
        use_grn (bool): V2's blocks, which come without layer scale (unless
            ``layer_scale_init_value`` says otherwise). Defaults to False.
        gap_before_final_norm (bool): Output averaged vectors, as
            classification does. Defaults to False, maps.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        **kwargs: See :class:`~mona_mm.backbones.family.TunedFamily` and
            mmpretrain's ``ConvNeXt``.
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
    family, zoo = 'convnext', ConvNeXt.arch_settings
    stage_parts = ('downsample_layers', 'stages')
    arch_facts = ('depths', 'channels')
    own_facts = ('use_grn', 'gap_before_final_norm', 'out_indices')

    def __init__(self,
                 arch: Union[str, dict] = 'tiny',
                 *,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 use_grn: bool = False,
                 gap_before_final_norm: bool = False,
                 **kwargs) -> None:
        if use_grn:
            kwargs.setdefault('layer_scale_init_value', 0.)
        self.use_grn = use_grn
        super().__init__(
            arch=arch,
            out_indices=list(out_indices),
            use_grn=use_grn,
            gap_before_final_norm=gap_before_final_norm,
            **kwargs)

    def prepare(self) -> None:
        """Offer no linear layers where they are convolutions."""
        if not self.stages[0][0].linear_pw_conv:
            self.sites = tuple(s for s in self.sites
                               if s not in ('fc1', 'fc2'))

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

    def fit(self, name: str, given: Tensor,
            own: Tensor) -> Tuple[Tensor, str]:
        """Point-wise layers as linear layers or as 1x1 convolutions."""
        if _POINTWISE.search(name) and given.shape[:2] == own.shape[:2] and (
                given.numel() == own.numel()):
            return given.view_as(own), ''
        return super().fit(name, given, own)
