"""Swin Transformer V2 (arXiv 2111.09883) with tuners at its sites."""
from typing import Iterator, List, Optional, Sequence, Tuple, Union

from mmpretrain.models.backbones.swin_transformer_v2 import (
    SwinBlockV2,
    SwinTransformerV2,
)
from torch import Tensor

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
from ..tuned import Slot
from .blocks import TunedSwinBlockV2
from .layouts import SwinV2Names

__all__ = ['TunedSwinTransformerV2']


@MODELS.register_module()
class TunedSwinTransformerV2(NumberedNorms, TunedFamily, SwinTransformerV2):
    """mmpretrain's Swin Transformer V2, tuned by any registered method.

    Args:
        arch (str | dict): ``'tiny'``, ``'base'`` and so on, or a dict with
            ``embed_dims``, ``depths``, ``num_heads`` and
            ``extra_norm_every_n_blocks``. Defaults to ``'tiny'``.
        tuner (dict): The tuning method. Defaults to ``dict(type='Full')``.
        keep_frozen (Sequence[str]): Beginnings of names of pretrained
            parameters that stay frozen with every tuner. Defaults to ().
        out_indices (Sequence[int]): Stages to output. Defaults to all four.
        drop_path_rate (float): Stochastic depth. Defaults to 0.1.
        window_size (int | Sequence[int]): Side of the windows, of every
            stage. Defaults to 8.
        pretrained_window_sizes (Sequence[int]): Those that the base was
            trained with, if they are others: they scale the coordinates of
            the position bias. Defaults to zeros, the same ones.
        pad_small_map (bool): Pad maps smaller than the window, as dense
            tasks do. Defaults to True.
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
            OpenMMLab, Microsoft or timm.
        **kwargs: Further arguments of mmpretrain's ``SwinTransformerV2``.

    Raises:
        ValueError: If ``frozen_stages`` is given, or the tuner asks for a
            site that the blocks do not offer, or an argument is none of its
            values.
    """

    stem = 'patch_embed.projection.weight'
    sites = (*SITES, 'side')
    layouts, derived = SwinV2Names.layouts, SwinV2Names.derived
    plain_class = SwinTransformerV2

    def __init__(self,
                 arch: Union[str, dict] = 'tiny',
                 tuner: Optional[dict] = None,
                 keep_frozen: Sequence[str] = (),
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 drop_path_rate: float = 0.1,
                 window_size: Union[int, Sequence[int]] = 8,
                 pretrained_window_sizes: Sequence[int] = (0, 0, 0, 0),
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
        refuse_frozen_stages(type(self).__name__, kwargs, none=-1)
        self._pretrained_windows = list(pretrained_window_sizes)
        with LinspaceOnCPU():
            super().__init__(
                arch=arch,
                out_indices=tuple(out_indices),
                drop_path_rate=drop_path_rate,
                window_size=window_size,
                pretrained_window_sizes=pretrained_window_sizes,
                pad_small_map=pad_small_map,
                with_cp=with_cp,
                in_channels=in_channels,
                init_cfg=init_cfg,
                **kwargs)
        self.tune(tuner, keep_frozen, line_by_line, skip_dropped, in_channels,
                  fit_channels, base_dtype, allow_random_base, map_final_norm)

    def block_slots(self) -> Iterator[Slot]:
        """The blocks up to the last output, in order."""
        for s, stage in enumerate(self.stages[:max(self.out_indices) + 1]):
            for b in range(len(stage.blocks)):
                yield Slot(f'stages.{s}.blocks.{b}', stage.blocks, b)

    def tune_block(self, block: SwinBlockV2,
                   tuner: Tuner) -> TunedSwinBlockV2:
        """Rebuild one block with the tuner's modules at its sites."""
        return TunedSwinBlockV2(block, tuner)

    def unused(self, tuner: Tuner) -> List[str]:
        """Stages behind the last output; its norms under a side network."""
        found = [f'stages.{i}.' for i in range(
            max(self.out_indices) + 1, len(self.stages))]
        if 'side' in tuner.sites:
            found += [f'norm{i}.' for i in self.out_indices]
        return found

    def facts(self) -> dict:
        """What a checkpoint must agree with, beyond shapes."""
        return dict(
            family='swin_v2',
            embed_dims=self.embed_dims,
            depths=list(self.depths),
            num_heads=list(self.num_heads),
            extra_norm_every_n_blocks=self.extra_norm_every_n_blocks,
            window_sizes=list(self.window_sizes),
            pretrained_window_sizes=list(self._pretrained_windows),
            pad_small_map=self.stages[0].blocks[0].attn.pad_small_map,
            out_indices=list(self.out_indices),
            **unusual(in_channels=(self.in_channels, 3),
                      fit_channels=(self.fit_channels, None)))

    def arguments(self, facts: dict) -> dict:
        """The arguments behind facts: an arch by its name if it has one."""
        arch = {k: facts.get(k) for k in (
            'embed_dims', 'depths', 'num_heads', 'extra_norm_every_n_blocks')}
        return dict(
            arch_arguments(arch, self.arch_zoo),
            window_size=facts.get('window_sizes'),
            pretrained_window_sizes=facts.get('pretrained_window_sizes'),
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
        return self.beside(x, super().forward)

    def _delete_reinit_params(self, state_dict, prefix: str, *args) -> None:
        """Use the computed buffers of this backbone, whatever a file has.

        mmpretrain's hook of this name deletes them, so that every strict
        load complains.
        """
        for name, buffer in self.named_buffers():
            if name.endswith(self.derived) and prefix + name in state_dict:
                state_dict[prefix + name] = buffer
