"""Swin Transformer (arXiv 2103.14030) with tuners at its sites."""
from typing import Iterator, Optional, Sequence, Tuple, Union

import torch
from mmengine.model import BaseModule
from mmpretrain.models.backbones.swin_transformer import (
    SwinBlock,
    SwinTransformer,
)
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from mona_mm.registry import MODELS
from mona_mm.tuners import Tuner

from .tuned import Slot, TunedBackbone


class TunedSwinBlock(BaseModule):
    """A Swin block rebuilt from its own children, with sites.

    ``norm1``, ``attn``, ``norm2`` and ``ffn`` keep their names, so pretrained
    weights fit; drop-path moves out of ``attn`` and ``ffn``, so that
    something can stand before it.

    Args:
        block (SwinBlock): The plain block; it must not be used afterwards.
        tuner (Tuner): What to insert.
    """

    def __init__(self, block: SwinBlock, tuner: Tuner) -> None:
        super().__init__()
        self.with_cp = block.with_cp
        self.norm1, self.attn = block.norm1, block.attn
        self.norm2, self.ffn = block.norm2, block.ffn
        self.drop_path1, self.attn.drop = self.attn.drop, nn.Identity()
        self.drop_path2, self.ffn.dropout_layer = (self.ffn.dropout_layer,
                                                   nn.Identity())
        dims = self.attn.w_msa.embed_dims
        for site in tuner.sites:
            if site == 'qkv':
                w_msa = self.attn.w_msa
                w_msa.qkv = tuner.adapt_qkv(w_msa.qkv)
            else:
                self.add_module(site, tuner.build(site, dims))
        self._occupied = frozenset(n for n, _ in self.named_children())

    def forward(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """Run the block.

        Args:
            x (Tensor): (B, N, C) with N = H * W.
            hw_shape (tuple[int, int]): (H, W).

        Returns:
            Tensor: (B, N, C).
        """
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self._forward, x, hw_shape, use_reentrant=False)
        return self._forward(x, hw_shape)

    def _forward(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        branch = self._at('attn_out', self.attn(self.norm1(x), hw_shape),
                          hw_shape)
        x = self._at('after_attn', self.drop_path1(branch) + x, hw_shape)
        branch = self.ffn.gamma2(self.ffn.layers(self.norm2(x)))
        branch = self._at('ffn_out', branch, hw_shape)
        y = x + self.drop_path2(branch)
        if 'beside_ffn' in self._occupied:
            y = y + self.beside_ffn(x, hw_shape)
        return self._at('after_ffn', y, hw_shape)

    def _at(self, site: str, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        if site in self._occupied:
            return getattr(self, site)(x, hw_shape)
        return x


@MODELS.register_module()
class TunedSwinTransformer(TunedBackbone, SwinTransformer):
    """mmpretrain's Swin Transformer, tuned by any registered method.

    State-dict keys of the pretrained part and outputs are those of mmdet's,
    mmseg's and mmpretrain's Swin, so one class serves all task families.

    Args:
        arch (str | dict): ``'tiny'``, ``'small'``, ``'base'``, ``'large'``,
            or a dict with ``embed_dims``, ``depths`` and ``num_heads``.
        tuner (dict): The tuning method. Defaults to ``dict(type='Full')``.
        out_indices (Sequence[int]): Stages to output. Defaults to all four.
        drop_path_rate (float): Stochastic depth; it is active in frozen
            blocks too, as released. Defaults to 0.1.
        pad_small_map (bool): Pad maps smaller than the window, as dense
            tasks (and the release everywhere) do. Defaults to True.
        with_cp (bool): Recompute blocks in the backward pass (non-reentrant,
            so a frozen input is fine). Defaults to False.
        allow_random_base (bool): Accept a frozen base without pretrained
            weights. Defaults to False.
        map_final_norm (bool): Load a classifier's final ``norm`` into the
            last output norm. The release does not. Defaults to False.
        init_cfg (dict, optional): ``dict(type='Pretrained',
            checkpoint=...)``: path or URL of the base.
        **kwargs: Further arguments of mmpretrain's ``SwinTransformer``.

    Raises:
        ValueError: If ``frozen_stages`` is given, or the tuner asks for a
            site that the blocks do not offer.
    """

    sites = ('attn_out', 'after_attn', 'ffn_out', 'after_ffn', 'beside_ffn',
             'qkv')

    def __init__(self,
                 arch: Union[str, dict] = 'tiny',
                 tuner: Optional[dict] = None,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 drop_path_rate: float = 0.1,
                 pad_small_map: bool = True,
                 with_cp: bool = False,
                 allow_random_base: bool = False,
                 map_final_norm: bool = False,
                 init_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        if kwargs.pop('frozen_stages', -1) != -1:
            raise ValueError(
                f'{type(self).__name__}: frozen_stages is not supported, '
                'because it would freeze inserted modules as well; the tuner '
                'decides what trains')
        with _LinspaceOnCPU():
            super().__init__(
                arch=arch,
                out_indices=tuple(out_indices),
                drop_path_rate=drop_path_rate,
                pad_small_map=pad_small_map,
                with_cp=with_cp,
                init_cfg=init_cfg,
                **kwargs)
        self.allow_random_base = allow_random_base
        self.map_final_norm = map_final_norm
        self.attach(tuner or dict(type='Full'))

    def block_slots(self) -> Iterator[Slot]:
        """The blocks of all stages, in order."""
        for s, stage in enumerate(self.stages):
            for b in range(len(stage.blocks)):
                yield Slot(f'stages.{s}.blocks.{b}', stage.blocks, b)

    def tune_block(self, block: SwinBlock, tuner: Tuner) -> TunedSwinBlock:
        """Rebuild one block with the tuner's modules at its sites."""
        return TunedSwinBlock(block, tuner)

    def output_norms(self) -> dict:
        """``{i: 'norm<i>'}`` of the stages that are output."""
        return {i: f'norm{i}' for i in self.out_indices}

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
            out_indices=list(self.out_indices))

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Extract feature maps.

        Args:
            x (Tensor): Images, (B, 3, H, W).

        Returns:
            tuple[Tensor, ...]: One (B, C_i, H_i, W_i) per output stage, with
            strides 4, 8, 16, 32.

        Raises:
            RuntimeError: In training or inside a Runner, if the frozen base
                was never loaded.
        """
        self._require_base()
        return super().forward(x)

    def train(self, mode: bool = True) -> 'TunedSwinTransformer':
        """Set the mode and return self, as PyTorch does."""
        super().train(mode)
        return self


@MODELS.register_module()
class SwinTransformerMona(TunedSwinTransformer):
    """Swin Transformer with Mona, under the paper's name.

    Args:
        tuner (dict): Defaults to ``dict(type='Mona')``.
        **kwargs: See :class:`TunedSwinTransformer`.
    """

    def __init__(self, *, tuner: Optional[dict] = None, **kwargs) -> None:
        super().__init__(tuner=tuner or dict(type='Mona'), **kwargs)


class _LinspaceOnCPU(TorchFunctionMode):
    """Let mmpretrain's Swin read its drop-path rates on the meta device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)
