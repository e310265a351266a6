"""Mona's scaled norm and down-projection (paper, equation 3).

With x^ = (x - mean) rstd per token, w and v the norm's weight and bias, g
gamma and h gammax::

    y = (x^ w + v) g + x h          low = y D^T + d

and backward, with e the gradient of low, sums over tokens, and <.> the mean
over channels::

    dD = e^T y    dd = sum e        q = e D, the gradient of y
    a = sum q x^  z = sum q         (C, ) each
    dw = a g      dv = z g          dg = a w + z v    dh = sum q x
    dx = q h + rstd (q w g - <q w g> - x^ <q w g x^>)

Without the scaled norm y = x and dx = q.
"""
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
    y, mean, rstd = _scaled_norm(x, params, eps, dtype)
    low = F.linear(y, params.weight.to(dtype), params.bias.to(dtype))
    return low, mean, rstd


def down_backward(grad: Tensor, g: Tensor, x: Tensor, mean: Optional[Tensor],
                  rstd: Optional[Tensor], params: DownParams,
                  eps: float) -> Tuple[Tensor, List[Optional[Tensor]]]:
    """Gradients of :func:`down`; the normed input is computed again.

    Args:
        grad (Tensor): (T, C), what reaches x on other ways; it is added.
        g (Tensor): (T, n), of the projection.
        x (Tensor): (T, C), the input.
        mean (Tensor, optional): (T, 1).
        rstd (Tensor, optional): (T, 1).
        params (DownParams): The parameters.
        eps (float): As in the forward pass.

    Returns:
        tuple: Of x, and a list of the parameters'.
    """
    y = _scaled_norm(x, params, eps, g.dtype)[0]
    linear = [g.t() @ y, g.sum(0)]
    wide = g @ params.weight.to(g.dtype)
    if params.gamma is None:
        return _sum(wide, grad).to(x.dtype), [None] * 4 + linear
    norm_w, norm_b, gamma, gammax = params[:4]
    wide, source = wide.to(gamma.dtype), x.to(gamma.dtype)
    x_grad, scale, shift = torch.ops.aten.native_layer_norm_backward(
        wide, source, x.shape[-1:], mean, rstd, norm_w * gamma, norm_b,
        [True, True, True])
    x_grad = _sum(x_grad.addcmul_(wide, gammax), grad).to(x.dtype)
    return x_grad, [
        scale * gamma, shift * gamma,
        torch.addcmul(scale * norm_w, shift, norm_b),
        wide.mul_(source).sum(0), *linear
    ]


def _scaled_norm(x: Tensor, params: DownParams, eps: float, dtype):
    """(norm(x) * gamma + x * gammax, mean, 1/std)."""
    norm_w, norm_b, gamma, gammax = params[:4]
    if gamma is None:
        return x.to(dtype), None, None
    x = x.to(norm_w.dtype)
    y, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], norm_w * gamma,
                                            norm_b * gamma, eps)
    return y.addcmul_(x, gammax).to(dtype), mean, rstd


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """a + b, into ``a`` where its dtype allows it; ``a`` must be ours."""
    return a.add_(b) if a.dtype == b.dtype else a + b
