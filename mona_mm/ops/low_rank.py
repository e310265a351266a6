"""A frozen linear layer with low-rank updates of parts of its output.

Written out, the update makes a full-width tensor per part and joins the parts
by a copy. Here the products are added in place, and the backward pass keeps
the input alone: the low-rank projections are computed again.

With l_i = x A_i^T, y = x W^T + b, and y_i += s l_i B_i^T in part i of y; and
backward, with g and g_i the gradients of y and of its part::

    dl_i = s g_i B_i            dB_i = s g_i^T l_i
    dA_i = dl_i^T x             dx = g W + sum_i dl_i A_i
"""
from typing import Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .precision import compute_dtype, no_autocast


def low_rank_linear(x: Tensor, weight: Tensor, bias: Optional[Tensor],
                    down: Tensor, up: Tensor, scale: float,
                    parts: Tuple[int, ...], count: int) -> Tensor:
    """``x W^T + b``, plus ``scale x A_i^T B_i^T`` in some parts.

    Args:
        x (Tensor): (B, N, C).
        weight (Tensor): (D, C), does not train.
        bias (Tensor, optional): (D, ), does not train.
        down (Tensor): (len(parts) * r, C), every A.
        up (Tensor): (len(parts) * D / count, r), every B.
        scale (float): Factor on the updates.
        parts (tuple[int, ...]): Which of the equal parts of the output.
        count (int): How many parts the output has.

    Returns:
        Tensor: (B, N, D).
    """
    return _LowRankLinear.apply(x, weight, bias, down, up, scale, parts,
                                count, compute_dtype(x))


class _LowRankLinear(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x, weight, bias, down, up, scale, parts, count, dtype):
        ctx.scale, ctx.parts, ctx.count, ctx.dtype = scale, parts, count, dtype
        ctx.save_for_backward(x, weight, down, up)
        with no_autocast(x.device):
            tokens = x.reshape(-1, x.shape[-1]).to(dtype)
            out = F.linear(tokens, weight.to(dtype),
                           None if bias is None else bias.to(dtype))
            low = F.linear(tokens, down.to(dtype))
            for wide, part, b in _each(out, low, up.to(dtype), parts, count):
                wide.addmm_(part, b.t(), alpha=scale)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, down, up = ctx.saved_tensors
        dtype = ctx.dtype
        with no_autocast(x.device):
            tokens = x.reshape(-1, x.shape[-1]).to(dtype)
            grad = grad.reshape(-1, grad.shape[-1]).to(dtype)
            a = down.to(dtype)
            low = F.linear(tokens, a)
            low_grads, ups = [], []
            for wide, part, b in _each(grad, low, up.to(dtype), ctx.parts,
                                       ctx.count):
                low_grads.append(wide @ b)
                ups.append(wide.t() @ part)
            low_grad = torch.cat(low_grads, -1).mul_(ctx.scale)
            x_grad = None
            if ctx.needs_input_grad[0]:
                x_grad = (grad @ weight.to(dtype)).addmm_(low_grad, a)
                x_grad = x_grad.to(x.dtype).view_as(x)
            down_grad = (low_grad.t() @ tokens).to(down.dtype)
            up_grad = torch.cat(ups).mul_(ctx.scale).to(up.dtype)
        return (x_grad, None, None, down_grad, up_grad, *(None, ) * 4)


def _each(wide: Tensor, low: Tensor, up: Tensor, parts, count):
    """(part of the output, its low-rank projection, its B) in turn."""
    chunks = wide.chunk(count, -1)
    return zip((chunks[i] for i in parts), low.chunk(len(parts), -1),
               up.chunk(len(parts)))
