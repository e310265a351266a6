"""The Mona layer for inference, with everything folded that can be."""
from typing import NamedTuple, Optional, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .filters import CombinedFilters
from .mona import MonaParams


class FoldedMona(NamedTuple):
    """What :func:`mona_folded` needs of a layer.

    Attributes:
        norm (tuple[Tensor, Tensor] | None): Affine part of the norm, the
            scale gamma included.
        gammax (Tensor | None): (C, ).
        down (tuple[Tensor, Tensor]): Weight (n, C) and bias.
        filters (CombinedFilters): All filters and skips.
        up (tuple[Tensor, Tensor]): Weight (C, n) and bias.
        eps (float): Of the norm.
    """
    norm: Optional[Tuple[Tensor, Tensor]]
    gammax: Optional[Tensor]
    down: Tuple[Tensor, Tensor]
    filters: CombinedFilters
    up: Tuple[Tensor, Tensor]
    eps: float


def fold_mona(params: MonaParams, eps: float) -> FoldedMona:
    """Fold the parameters of a layer."""
    norm_w, norm_b, gamma, gammax, weight, bias = params.down
    norm = None if gamma is None else (norm_w * gamma, norm_b * gamma)
    return FoldedMona(norm, gammax, (weight, bias), params.combined(),
                      (params.up_weight, params.up_bias), eps)


def mona_folded(x: Tensor, hw_shape: Tuple[int, int],
                folded: FoldedMona) -> Tensor:
    """Run a folded layer: (B, N, C) -> (B, N, C).

    Its gradients are not those of the layer's parameters.
    """
    y = x
    if folded.norm is not None:
        width = (int(x.shape[-1]), )  # a constant of every trace
        y = F.layer_norm(x, width, *folded.norm, folded.eps)
        y = y.addcmul_(x, folded.gammax)
    low = F.linear(y, *folded.down).unflatten(1, hw_shape)
    kernel, bias, point, point_bias = folded.filters
    out = F.conv2d(
        low.permute(0, 3, 1, 2),
        kernel,
        bias,
        padding=kernel.shape[-1] // 2,
        groups=len(kernel))
    act = F.gelu(F.linear(out.permute(0, 2, 3, 1), point, point_bias))
    weight, bias = folded.up
    if act.dtype != x.dtype or weight.dtype != x.dtype:
        return x + F.linear(act.flatten(1, 2), weight, bias)
    out = torch.add(x.reshape(-1, x.shape[-1]), bias)
    return out.addmm_(act.reshape(-1, act.shape[-1]), weight.t()).view(x.shape)
