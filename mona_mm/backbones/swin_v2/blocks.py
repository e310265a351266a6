"""The Swin V2 block with the tuner's sites, as they are with post-norm."""
from typing import Optional, Tuple

import numpy as np
import torch
from mmengine.model import BaseModule
from mmpretrain.models.backbones.swin_transformer_v2 import SwinBlockV2
from mmpretrain.models.utils import WindowMSAV2
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.frozen import (
    LINEAR_TYPES,
    CastOnce,
    Forgetful,
    MixedLinear,
    mixed_linear,
)
from mona_mm.tuners import Tuner

from ..sites import TunedBlock
from .layouts import SwinV2Names


class TunedWindowMSAV2(WindowMSAV2):
    """Window attention of V2 that calls its qkv layer.

    mmpretrain's reads the layer's weight alone, so that nothing that stands
    in for the layer would have an effect.
    """

    def forward(self, x: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """Attend within windows: cosine attention (paper, section 3.3).

        Args:
            x (Tensor): (windows * B, P, C), P places in a window.
            mask (Tensor, optional): (windows, P, P).

        Returns:
            Tensor: (windows * B, P, C).
        """
        qkv = self.project(x).unflatten(2, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = F.normalize(q, dim=-1) @ F.normalize(
            k, dim=-1).transpose(-2, -1)
        scores = scores * self.temperature() + self.position_bias()
        if mask is not None:
            scores = (scores.unflatten(0, (-1, len(mask)))
                      + mask[:, None]).flatten(0, 1)
        weights = self.attn_drop(self.softmax(scores))
        out = (weights @ v).transpose(1, 2).flatten(2)
        return self.proj_drop(self.proj(out))

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values, (..., 3C); keys have no bias."""
        qkv, bias = self.qkv, None
        if self.q_bias is not None:
            bias = torch.cat((self.q_bias, torch.zeros_like(self.v_bias),
                              self.v_bias))
        if type(qkv) in (*LINEAR_TYPES, MixedLinear):  # as one product
            return mixed_linear(x, qkv.weight, bias)
        out = qkv(x)
        return out if bias is None else out + bias.to(out.dtype)

    def temperature(self) -> Tensor:
        """The factor on the cosines, (heads, 1, 1): at most 100."""
        return self.logit_scale.clamp(max=np.log(1. / 0.01)).exp()

    def position_bias(self) -> Tensor:
        """16 sigmoid(MLP(log-spaced coordinates)), (heads, P, P)."""
        table = self.cpb_mlp(self.relative_coords_table).view(
            -1, self.num_heads)
        index = self.relative_position_index
        bias = table[index.flatten()].view(*index.shape, -1)
        return 16 * torch.sigmoid(bias.permute(2, 0, 1))


class TunedSwinBlockV2(TunedBlock, Forgetful, BaseModule):
    """A Swin V2 block rebuilt from its own children, with sites.

    The norms stand at the end of the branches, so the sites are::

        x -+-[attn_in]- attn - norm1 -[attn_out]- drop_path -(+)-[after_attn]-
           +------------------[beside_attn]-------------------+

    and the same for ``ffn``. Nothing before a branch is normed: a module
    with ``takes_normed`` gets x, too. The norm that some blocks of the huge
    and giant sizes have at their end comes after ``after_ffn``.

    Drop-path stands after the norm, as in Microsoft's code. mmpretrain has
    it before the norm, so that a dropped branch still adds the norm's bias.

    Args:
        block (SwinBlockV2): The plain block; it must not be used afterwards.
        tuner (Tuner): What to insert.
    """

    branches = dict(attn=('attn', 'norm1'), ffn=('ffn', 'norm2'))
    linears = SwinV2Names.linears

    def __init__(self, block: SwinBlockV2, tuner: Tuner) -> None:
        super().__init__()
        self.with_cp, self.extra_norm = block.with_cp, block.extra_norm
        self.attn, self.norm1 = block.attn, block.norm1
        self.ffn, self.norm2 = block.ffn, block.norm2
        if self.extra_norm:
            self.norm3 = block.norm3
        self.drop_path1, self.attn.drop = self.attn.drop, nn.Identity()
        self.drop_path2, self.ffn.dropout_layer = (self.ffn.dropout_layer,
                                                   nn.Identity())
        self.attn.w_msa.__class__ = TunedWindowMSAV2  # only its forward pass
        self.casts = CastOnce()
        self.insert(tuner, self.attn.w_msa.embed_dims)

    def forward(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """Map (B, N, C) with N = H * W to (B, N, C)."""
        x = self.recompute(self._run, x, hw_shape)
        return self.leave(x, tuple(hw_shape))

    def _run(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        x = self.half('attn', x, hw_shape, nn.Identity(),
                      lambda t: self.norm1(self.attn(t, hw_shape)),
                      self.drop_path1)
        x = self.half('ffn', x, hw_shape, nn.Identity(), self._mix,
                      self.drop_path2)
        return self.norm3(x) if self.extra_norm else x

    def _mix(self, t: Tensor) -> Tensor:
        layers = self.ffn.layers
        t = layers(t) if runs_line_by_line(self) else (
            self.casts.layers(layers, t))
        return self.norm2(self.ffn.gamma2(t))
