"""Mona's scaled norm and down-projection (paper, equation 3)."""
from typing import List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F


class DownParams(NamedTuple):
    """Parameters; the first four are None without the scaled norm."""
    norm_weight: Optional[Tensor]
    norm_bias: Optional[Tensor]
    gamma: Optional[Tensor]
    gammax: Optional[Tensor]
    weight: Tensor
    bias: Tensor


def down(x: Tensor, params: DownParams, eps: float,
         dtype: torch.dtype) -> Tuple[Tensor, Optional[Tensor],
                                      Optional[Tensor]]:
    """Map (T, C) to (T, n).

    ``(norm(x) * gamma + x * gammax) W^T + b``: the scale belongs into the
    norm's affine part.

    Returns:
        tuple: The projection, and mean and 1/std of every token (T, 1).
    """
    norm_w, norm_b, gamma, gammax, weight, bias = params
    mean = rstd = None
    if gamma is not None:
        source = x.to(norm_w.dtype)
        y, mean, rstd = torch.native_layer_norm(
            source, source.shape[-1:], norm_w * gamma, norm_b * gamma, eps)
        x = y.addcmul_(source, gammax)
    return _linear(x.to(dtype), weight, bias), mean, rstd


def down_backward(grad: Tensor, g: Tensor, x: Tensor, mean: Optional[Tensor],
                  rstd: Optional[Tensor], params: DownParams,
                  wants_x: bool) -> Tuple[Optional[Tensor], List]:
    """Gradients of :func:`down`.

    Args:
        grad (Tensor): (T, C), what reaches x on other ways; it is added.
        g (Tensor): (T, n), of the projection.
        x (Tensor): (T, C), the input.
        mean (Tensor, optional): (T, 1).
        rstd (Tensor, optional): (T, 1).
        params (DownParams): The parameters.
        wants_x (bool): Whether x needs a gradient.

    Returns:
        tuple: Of x, and a list of the parameters'.
    """
    bias_grad = g.sum(0)
    if params.gamma is None:
        grads = [None] * 4 + [g.t() @ x.to(g.dtype), bias_grad]
    else:
        grads = _parameter_grads(g, x, mean, rstd, params, bias_grad)
    if not wants_x:
        return None, grads
    wide = g @ params.weight.to(g.dtype)
    if params.gamma is None:
        return _sum(grad, wide).to(x.dtype), grads
    wide = wide.to(params.gamma.dtype)
    x_grad = torch.ops.aten.native_layer_norm_backward(
        wide, x.to(wide.dtype), x.shape[-1:], mean, rstd,
        params.norm_weight * params.gamma, params.norm_bias,
        [True, False, False])[0]
    x_grad = x_grad.addcmul_(wide, params.gammax)
    return _sum(x_grad, grad).to(x.dtype), grads


def _parameter_grads(g, x, mean, rstd, params, bias_grad) -> List[Tensor]:
    """From two narrow products with x, without the normed input.

    With h = (x - mean) * rstd: ``g^T h = (g * rstd)^T x - sum(g rstd mean)``.
    """
    norm_w, norm_b, gamma, gammax, weight, _ = params
    scaled = g * rstd
    both = torch.cat([g, scaled.to(g.dtype)], -1).t() @ x.to(g.dtype)
    by_x, by_norm = both.to(weight.dtype).chunk(2)
    by_norm = by_norm - (scaled * mean).sum(0).unsqueeze(1)
    total = bias_grad.to(weight.dtype)
    scale = (weight * by_norm).sum(0)
    shift = total @ weight
    return [
        scale * gamma, shift * gamma, scale * norm_w + shift * norm_b,
        (weight * by_x).sum(0),
        by_x * gammax + by_norm * (norm_w * gamma) +
        torch.outer(total, norm_b * gamma), bias_grad
    ]


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight.to(x.dtype), bias.to(x.dtype))


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """a + b, into ``a`` where its dtype allows it; ``a`` must be ours."""
    return a.add_(b) if a.dtype == b.dtype else a + b
