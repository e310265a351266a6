"""The PVT encoder layer with the tuner's sites."""
from typing import Tuple

from mmdet.models.backbones.pvt import (
    PVTEncoderLayer,
    SpatialReductionAttention,
)
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.frozen import CastOnce, Forgetful, accelerated
from mona_mm.ops.precision import compute_dtype
from mona_mm.tuners import Tuner

from ..sites import TunedBlock


class TunedPVTLayer(TunedBlock, Forgetful, BaseModule):
    """An encoder layer of PVT rebuilt from its own children, with sites.

    ``norm1``, ``attn``, ``norm2`` and ``ffn`` keep their names; drop-path
    moves out of ``attn`` and ``ffn``. Of the linear layers only ``proj`` is
    one: queries, keys and values share one tensor that meets two inputs (all
    places, and the reduced map), and the MLP consists of 1x1 convolutions.

    Args:
        block (PVTEncoderLayer): The plain layer; it must not be used
            afterwards.
        tuner (Tuner): What to insert.
        with_cp (bool): Recompute it in the backward pass.
    """

    linears = dict(proj='attn.attn.out_proj')

    def __init__(self, block: PVTEncoderLayer, tuner: Tuner,
                 with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.norm1, self.attn = block.norm1, block.attn
        self.norm2, self.ffn = block.norm2, block.ffn
        self.drop_path1, self.attn.dropout_layer = (self.attn.dropout_layer,
                                                    nn.Identity())
        self.drop_path2, self.ffn.dropout_layer = (self.ffn.dropout_layer,
                                                   nn.Identity())
        self.casts = CastOnce()
        library = type(self.attn.attn.out_proj)
        self.insert(tuner, self.attn.embed_dims)
        # torch's attention reads the weights of its own projection alone.
        self._own_proj = type(self.attn.attn.out_proj) is library

    def forward(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """Map (B, N, C) with N = H * W to (B, N, C)."""
        x = self.recompute(self._run, x, hw_shape)
        return self.leave(x, tuple(hw_shape))

    def _run(self, x: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        x = self.half('attn', x, hw_shape, self.norm1,
                      lambda t: self._attend(t, hw_shape), self.drop_path1)
        return self.half('ffn', x, hw_shape, self.norm2,
                         lambda t: self.ffn(t, hw_shape, identity=0.),
                         self.drop_path2)

    def _attend(self, t: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """Attention without its identity, (B, N, C) to (B, N, C).

        The fast form keeps no (N, N / R^2) weights, which torch's attention
        averages over the heads and hands back, unused.
        """
        attn = self.attn
        if type(attn) is not SpatialReductionAttention or (
                runs_line_by_line(self) and self._own_proj):
            return attn(t, hw_shape, identity=0.)
        reduced = t
        if attn.sr_ratio > 1:
            reduced = t.transpose(1, 2).unflatten(2, tuple(hw_shape))
            reduced = attn.norm(attn.sr(reduced).flatten(2).transpose(1, 2))
        mha = attn.attn
        weight, bias = mha.in_proj_weight, mha.in_proj_bias
        if accelerated(t):
            dtype = compute_dtype(t)
            weight, bias = self.casts(weight, dtype), self.casts(bias, dtype)
        dims = attn.embed_dims
        cut = [dims, 2 * dims]
        w_q, w_kv = weight.split(cut)
        b_q, b_kv = (None, None) if bias is None else bias.split(cut)
        k, v = F.linear(reduced, w_kv, b_kv).chunk(2, dim=-1)
        q, k, v = (u.unflatten(2, (mha.num_heads, -1)).transpose(1, 2)
                   for u in (F.linear(t, w_q, b_q), k, v))
        out = F.scaled_dot_product_attention(
            q, k, v, dropout_p=mha.dropout if mha.training else 0.)
        out = self.casts.linear(mha.out_proj,
                                out.transpose(1, 2).flatten(2))
        return attn.proj_drop(out)
