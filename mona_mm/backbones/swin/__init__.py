"""Swin Transformer (arXiv 2103.14030) with tuners at its sites."""
from typing import Iterator, List, Sequence, Tuple, Union

from mmpretrain.models.backbones.swin_transformer import (
    SwinBlock,
    SwinTransformer,
)
from torch import Tensor
from torch.nn import functional as F

from mona_mm.ops.windows import PLANS
from mona_mm.registry import MODELS
from mona_mm.tuners import SITES, Tuner

from ..family import NumberedNorms, TunedFamily
from ..said import Slot
from ..step import Step
from .blocks import TunedSwinBlock, TunedSwinStage
from .layouts import SwinNames
from .published import SAVED_MIB

__all__ = ['SwinTransformerMona', 'TunedSwinTransformer']

_TABLE = 'relative_position_bias_table'


@MODELS.register_module()
class TunedSwinTransformer(NumberedNorms, TunedFamily, SwinTransformer):
    """mmpretrain's Swin Transformer, tuned by any registered method.

    State-dict keys of the pretrained part and outputs are those of mmdet's,
    mmseg's and mmpretrain's Swin, so one class serves all task families.

    Args:
        arch (str | dict): ``'tiny'``, ``'small'``, ``'base'``, ``'large'``,
            or a dict with ``embed_dims``, ``depths`` and ``num_heads``.
        out_indices (Sequence[int]): Stages to output. Defaults to all four.
        drop_path_rate (float): Stochastic depth; it is active in frozen
            blocks too, as published. Defaults to 0.1.
        pad_small_map (bool): Pad maps smaller than the window, as dense
            tasks (and the paper's code everywhere) do. Defaults to True.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        **kwargs: See :class:`~mona_mm.backbones.family.TunedFamily` and
            mmpretrain's ``SwinTransformer``.
    """

    layouts, derived = SwinNames.layouts, SwinNames.derived
    plain_class = SwinTransformer
    stem = 'patch_embed.projection.weight'
    sites = (*SITES, 'side')
    family, zoo = 'swin', SwinTransformer.arch_zoo
    arch_facts = ('embed_dims', 'depths', 'num_heads')
    saved_mib = SAVED_MIB

    def __init__(self,
                 arch: Union[str, dict] = 'tiny',
                 *,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 drop_path_rate: float = 0.1,
                 pad_small_map: bool = True,
                 **kwargs) -> None:
        super().__init__(
            arch=arch,
            out_indices=tuple(out_indices),
            drop_path_rate=drop_path_rate,
            pad_small_map=pad_small_map,
            **kwargs)

    def prepare(self) -> None:
        """Replace the stages by those whose blocks share a step."""
        for i, stage in enumerate(self.stages):
            self.stages[i] = TunedSwinStage(stage)

    def block_slots(self) -> Iterator[Slot]:
        """The blocks of all stages, in order."""
        for s, stage in enumerate(self.stages):
            for b in range(len(stage.blocks)):
                yield Slot(f'stages.{s}.blocks.{b}', stage.blocks, b)

    def tune_block(self, block: SwinBlock, tuner: Tuner) -> TunedSwinBlock:
        """Rebuild one block with the tuner's modules at its sites."""
        return TunedSwinBlock(block, tuner)

    def cache_bytes(self) -> int:
        """Bytes of attention masks, casts and window plans that are kept.

        Masks, and casts of frozen weights, belong to a block and do not
        depend on the image's size; plans are shared by all backbones of the
        process and bounded.
        """
        masks = sum(slot.container[slot.index].attention_bias.nbytes
                    for slot in self.block_slots())
        return super().cache_bytes() + masks + PLANS.nbytes

    def unused(self, tuner: Tuner) -> List[str]:
        """What follows the last output; its norms under a side network."""
        if 'side' in tuner.sites or not self.out_indices:
            return [f'norm{i}.' for i in self.out_indices]
        last = max(self.out_indices)
        found = [f'stages.{i}.' for i in range(last + 1, len(self.stages))]
        if found and not self.out_after_downsample:
            found.append(f'stages.{last}.downsample.')
        return found

    def fit(self, name: str, given: Tensor,
            own: Tensor) -> Tuple[Tensor, str]:
        """Interpolate a bias table, ((2 w - 1)^2, heads), of another w."""
        if not name.endswith(_TABLE) or given.shape == own.shape or (
                given.ndim != 2 or given.shape[1] != own.shape[1]):
            return given, ''
        before, after = (round(len(t)**0.5) for t in (given, own))
        picture = given.float().T.reshape(1, -1, before, before)
        picture = F.interpolate(picture, size=(after, after), mode='bicubic',
                                align_corners=False)
        return picture.flatten(2)[0].T.to(given.dtype), (
            f'{_TABLE}: interpolated from window {(before + 1) // 2} to '
            f'window {(after + 1) // 2}, because window_size is not the one '
            'that the base was trained with; set model.backbone.window_size '
            'to the first to use the tables as they are')

    def facts(self) -> dict:
        """What a checkpoint must agree with, beyond shapes."""
        attns = [stage.blocks[0].attn for stage in self.stages]
        return dict(super().facts(),
                    window_sizes=[attn.window_size for attn in attns],
                    pad_small_map=attns[0].pad_small_map)

    def arguments(self, facts: dict) -> dict:
        """The arguments behind facts: one window where all are alike."""
        windows = facts.get('window_sizes') or [None]
        return dict(
            super().arguments(facts),
            window_size=windows[0] if len(set(windows)) == 1 else windows,
            pad_small_map=facts.get('pad_small_map'))

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Extract feature maps; the blocks of a pass share a :class:`Step`."""
        step = Step([s.container[s.index] for s in self.block_slots()])
        for stage in self.stages:
            stage.step = step
        try:
            return super().forward(x)
        finally:
            step.open = False


@MODELS.register_module()
class SwinTransformerMona(TunedSwinTransformer):
    """Swin Transformer with Mona, under the paper's name.

    Args:
        tuner (dict): Defaults to ``dict(type='Mona')``.
        **kwargs: See :class:`TunedSwinTransformer`.
    """

    default_tuner = dict(type='Mona')
    general = 'mona_mm.TunedSwinTransformer'
