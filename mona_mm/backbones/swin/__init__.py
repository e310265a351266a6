"""Swin Transformer (arXiv 2103.14030) with tuners at its sites."""
from typing import Iterator, List, Optional, Sequence, Tuple, Union

from mmpretrain.models.backbones.swin_transformer import (
    SwinBlock,
    SwinTransformer,
)
from torch import Tensor
from torch.nn import functional as F

from mona_mm.ops.windows import PLANS
from mona_mm.registry import MODELS
from mona_mm.tuners import SITES, Tuner

from ..family import (
    LinspaceOnCPU,
    NumberedNorms,
    TunedFamily,
    arch_arguments,
    refuse_frozen_stages,
    unusual,
)
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
        tuner (dict): The tuning method. Defaults to ``dict(type='Full')``.
        keep_frozen (Sequence[str]): Beginnings of names of pretrained
            parameters that stay frozen with every tuner (the paper's code
            keeps ``patch_embed`` frozen on Pascal VOC). Defaults to ().
        out_indices (Sequence[int]): Stages to output. Defaults to all four.
        drop_path_rate (float): Stochastic depth; it is active in frozen
            blocks too, as published. Defaults to 0.1.
        pad_small_map (bool): Pad maps smaller than the window, as dense
            tasks (and the paper's code everywhere) do. Defaults to True.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        line_by_line (bool): Run attention and inserted modules as they are
            written in the papers, instead of in their fast, exact forms (it
            can be changed later, too). Defaults to False.
        skip_dropped (bool | str): Do not compute the branches that drop-path
            multiplies by zero. ``'auto'``: on a CPU. ``True`` is refused on
            other devices, where it took 1.5 times as long: it draws on the
            host and makes small launches of large ones. Defaults to
            ``'auto'``.
        in_channels (int): Of the images. Defaults to 3.
        fit_channels (str, optional): How a base for another number of
            channels is fitted: ``'mean'``, ``'repeat'`` or ``'zero'``, see
            :func:`~mona_mm.backbones.channels.fit_stem`. Without it such a
            base is refused.
        base_dtype (str, optional): ``'bfloat16'`` stores the frozen linear
            layers in that dtype alone: half the memory, and the same results
            under bfloat16 autocast. Defaults to None, as loaded.
        allow_random_base (bool): Accept a frozen base without pretrained
            weights. Defaults to False.
        map_final_norm (bool): Load a classifier's final ``norm`` into the
            last output norm. The paper's code does not. Defaults to False.
        init_cfg (dict, optional): ``dict(type='Pretrained',
            checkpoint=...)``: path or URL of the base.
        **kwargs: Further arguments of mmpretrain's ``SwinTransformer``.

    Raises:
        ValueError: If ``frozen_stages`` is given, or the tuner asks for a
            site that the blocks do not offer, or ``keep_frozen`` names
            nothing, or ``skip_dropped``, ``fit_channels`` or ``base_dtype``
            is none of its values.
    """

    layouts, derived = SwinNames.layouts, SwinNames.derived
    plain_class = SwinTransformer
    stem = 'patch_embed.projection.weight'
    sites = (*SITES, 'side')
    saved_mib = SAVED_MIB

    def __init__(self,
                 arch: Union[str, dict] = 'tiny',
                 tuner: Optional[dict] = None,
                 keep_frozen: Sequence[str] = (),
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 drop_path_rate: float = 0.1,
                 pad_small_map: bool = True,
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
        refuse_frozen_stages(type(self).__name__, kwargs, -1)
        with LinspaceOnCPU():
            super().__init__(
                arch=arch,
                out_indices=tuple(out_indices),
                drop_path_rate=drop_path_rate,
                pad_small_map=pad_small_map,
                with_cp=with_cp,
                in_channels=in_channels,
                init_cfg=init_cfg,
                **kwargs)
        for i, stage in enumerate(self.stages):
            self.stages[i] = TunedSwinStage(stage)
        self.tune(tuner, keep_frozen, line_by_line, skip_dropped, in_channels,
                  fit_channels, base_dtype, allow_random_base, map_final_norm)

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
        windows = [s.blocks[0].attn.window_size for s in self.stages]
        return dict(
            family='swin',
            embed_dims=self.embed_dims,
            depths=list(self.depths),
            num_heads=list(self.num_heads),
            window_sizes=windows,
            pad_small_map=self.stages[0].blocks[0].attn.pad_small_map,
            out_indices=list(self.out_indices),
            # So that files from before it was known fit.
            **unusual(in_channels=(self.in_channels, 3),
                      fit_channels=(self.fit_channels, None)))

    def arguments(self, facts: dict) -> dict:
        """The arguments behind facts: an arch by its name if it has one."""
        arch = {k: facts.get(k) for k in ('embed_dims', 'depths', 'num_heads')}
        windows = facts.get('window_sizes') or [None]
        return dict(
            arch_arguments(arch, self.arch_zoo),
            window_size=windows[0] if len(set(windows)) == 1 else windows,
            pad_small_map=facts.get('pad_small_map'),
            out_indices=facts.get('out_indices'),
            in_channels=facts.get('in_channels', 3),
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
        step = Step([s.container[s.index] for s in self.block_slots()])
        for stage in self.stages:
            stage.step = step
        try:
            return self.beside(x, super().forward)
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

    def __init__(self, *, tuner: Optional[dict] = None, **kwargs) -> None:
        super().__init__(tuner=tuner, **kwargs)
