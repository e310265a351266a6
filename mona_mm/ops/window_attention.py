"""Window attention that keeps the queries, keys and values, and no more.

The forward pass is ``scaled_dot_product_attention`` with bias and shift mask
as its additive mask. The backward pass computes the attention weights again,
as fused kernels do, and works for a bias that trains too. Padded places exist
inside the function alone: nothing wide is kept for them.

In a window, with places i and j, o = softmax(s) v for s = scale q k^T + bias;
and backward, with a = softmax(s) and g the gradient of o (0 at places without
a token)::

    dv = a^T g          da = g v^T       ds = a (da - sum_j a da)
    dq = scale ds k     dk = scale ds^T q
    dbias = sum of ds over the windows of a kind
    dempty = sum of (dq, dk, dv) over the places without a token
"""
from contextlib import nullcontext
from typing import List, Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from mona_mm.compat import softmax_backward

from .precision import no_autocast
from .windows import WindowPlan, cut, paste

_PLANLESS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def window_attention(qkv: Tensor, empty: Optional[Tensor], bias: Tensor,
                     plan: WindowPlan, scale: float) -> Tensor:
    """Attend within windows.

    Args:
        qkv (Tensor): (B, N, 3C).
        empty (Tensor, optional): (3C, ), what stands at places without a
            token; needed if the plan has such.
        bias (Tensor): (kinds, heads, P, P) additive mask of every kind of
            window in the plan, P = window ** 2.
        plan (WindowPlan): How the maps are cut.
        scale (float): Of the dot products.

    Returns:
        Tensor: (B, N, C).
    """
    if qkv.is_cuda and not bias.requires_grad:
        return _by_kernels(qkv, empty, bias, plan, scale)
    return _WindowAttention.apply(qkv, empty, bias, plan, scale)


class _WindowAttention(torch.autograd.Function):

    @staticmethod
    def forward(ctx, qkv, empty, bias, plan, scale):
        ctx.plan, ctx.scale = plan, scale
        ctx.save_for_backward(qkv, empty, bias)
        with no_autocast(qkv.device):
            rows = cut(qkv.reshape(-1, qkv.shape[-1]), plan, empty)
            out = paste(_attend_rows(rows, bias, plan, scale), plan)
            return out.view(*qkv.shape[:2], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        qkv, empty, bias = ctx.saved_tensors
        plan = ctx.plan
        with no_autocast(grad.device):
            rows = cut(qkv.reshape(-1, qkv.shape[-1]), plan, empty)
            grads = cut(grad.reshape(-1, grad.shape[-1]), plan)
            qkv_grad = torch.empty_like(rows)
            bias_grad = empty_grad = None
            if ctx.needs_input_grad[2]:
                bias_grad = torch.zeros_like(bias)
            for i, part in _parts(plan, bias):
                scores = _rows_backward(rows[part], grads[part], bias[i],
                                        ctx.scale, qkv_grad[part])
                if bias_grad is not None:
                    bias_grad[i] = scores.sum(0)
            if ctx.needs_input_grad[1]:
                empty_grad = qkv_grad[plan.empty].sum(0).to(empty.dtype)
        return (paste(qkv_grad, plan).view_as(qkv), empty_grad, bias_grad,
                None, None)


class _Cut(torch.autograd.Function):

    @staticmethod
    def forward(ctx, tokens, empty, plan):
        ctx.plan, ctx.dtype = plan, None if empty is None else empty.dtype
        return cut(tokens, plan, empty)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        empty = None
        if ctx.needs_input_grad[1]:
            empty = grad[ctx.plan.empty].sum(0).to(ctx.dtype)
        return paste(grad, ctx.plan), empty, None


class _Paste(torch.autograd.Function):

    @staticmethod
    def forward(ctx, rows, plan):
        ctx.plan = plan
        return paste(rows, plan)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return cut(grad, ctx.plan), None


def _by_kernels(qkv, empty, bias, plan, scale) -> Tensor:
    """The same by the device's attention kernels, forward and backward.

    They keep the attention output as well, but no (P, P) weights ever reach
    memory, which is what counts on a GPU.
    """
    rows = _Cut.apply(qkv.reshape(-1, qkv.shape[-1]), empty, plan)
    pieces = _attend_rows(rows, bias, plan, scale)
    return _Paste.apply(pieces, plan).view(*qkv.shape[:2], -1)


def _attend_rows(rows, bias, plan, scale) -> Tensor:
    """(places, 3C) -> (places, C).

    cuDNN is left out: it plans anew, for seconds, for every number of windows
    and so for every image's size.
    """
    outs = []
    with sdpa_kernel(_PLANLESS) if rows.is_cuda else nullcontext():
        for i, part in _parts(plan, bias):
            q, k, v = _heads(rows[part], bias, 3).unbind(0)
            out = F.scaled_dot_product_attention(
                q, k, v, attn_mask=bias[i:i + 1].to(q.dtype), scale=scale)
            outs.append(
                out.transpose(1, 2).reshape(part.stop - part.start, -1))
    return torch.cat(outs) if len(outs) > 1 else outs[0]


def _rows_backward(rows, grad, bias, scale, out: Tensor) -> Tensor:
    """Write the gradient of one kind's rows (places, 3C) to ``out``.

    Returns:
        Tensor: (windows, heads, P, P), the gradient of the scores.
    """
    q, k, v = _heads(rows, bias, 3).contiguous().unbind(0)
    grad, = _heads(grad, bias, 1).contiguous().unbind(0)
    q_grad, k_grad, v_grad = _heads(out, bias, 3).unbind(0)
    scores = (q @ k.transpose(-2, -1)).mul_(scale).add_(bias)
    half = scores.dtype in (torch.float16, torch.bfloat16)
    weights = scores.softmax(
        -1, dtype=torch.float32 if half else None).to(scores.dtype)
    v_grad.copy_(weights.transpose(-2, -1) @ grad)
    scores = softmax_backward(grad @ v.transpose(-2, -1), weights)
    scaled = scores * scale
    q_grad.copy_(scaled @ k)
    k_grad.copy_(scaled.transpose(-2, -1) @ q)
    return scores


def _heads(rows: Tensor, bias: Tensor, count: int) -> Tensor:
    """(places, count * C) -> (count, windows, heads, P, C / heads)."""
    heads, places = bias.shape[-3], bias.shape[-1]
    rows = rows.view(-1, places, count, heads,
                     rows.shape[-1] // (count * heads))
    return rows.permute(2, 0, 3, 1, 4)


def _parts(plan: WindowPlan, bias: Tensor) -> List[Tuple[int, slice]]:
    """The rows of every kind of window."""
    start, parts = 0, []
    for i, count in enumerate(plan.counts):
        stop = start + count * bias.shape[-1]
        parts.append((i, slice(start, stop)))
        start = stop
    return parts
