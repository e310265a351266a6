"""Window attention by Triton kernels: see :mod:`.attention_kernels`.

It keeps the queries, keys and values and no more, as
:func:`mona_mm.ops.window_attention.window_attention` does, and computes the
same from tokens in their own order. The formulas, backward ones too, stand
above the kernels.
"""
from typing import Optional, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .launch import say_once, usable

#: Programs to start, so that a large device has work; further windows are
#: done by the same programs, which gather the bias only once.
_PROGRAMS = 2048
_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def fits(qkv: Tensor, heads: int, hw_shape: Tuple[int, int],
         window: int) -> bool:
    """Whether the kernels can do it; what they cannot is logged once.

    Args:
        qkv (Tensor): (B, N, 3C).
        heads (int): Number of heads.
        hw_shape (tuple[int, int]): (H, W).
        window (int): Side of a window.
    """
    if not usable(qkv):
        return False
    dims = qkv.shape[-1] // (3 * heads)
    if qkv.dtype not in _DTYPES:
        lacking = f'{qkv.dtype}'
    elif window > 8 or dims > 64:
        lacking = f'windows of {window} and heads of {dims} channels'
    elif hw_shape[0] * hw_shape[1] * qkv.shape[-1] >= 2**31:
        lacking = 'maps of 2^31 numbers or more'
    else:
        return True
    say_once(f'window attention: {lacking}: PyTorch\'s kernels do it, because '
             'the Triton kernels take float16, bfloat16 and float32, windows '
             'up to 8, heads up to 64 channels and maps of less than 2^31 '
             'numbers')
    return False


def fused_attention(qkv: Tensor, empty: Optional[Tensor], table: Tensor,
                    hw_shape: Tuple[int, int], window: int, shift: int,
                    scale: float) -> Tensor:
    """Attend within windows; :func:`fits` must hold.

    Args:
        qkv (Tensor): (B, N, 3C), N = H * W.
        empty (Tensor, optional): (3C, ), what stands where a window reaches
            beyond the map; zeros if it is not given.
        table (Tensor): ((2 window - 1)^2, heads), the bias by offset.
        hw_shape (tuple[int, int]): (H, W).
        window (int): Side of a window.
        shift (int): How far the map is rolled up and left before it is cut.
        scale (float): Of the dot products.

    Returns:
        Tensor: (B, N, C).
    """
    return _FusedAttention.apply(qkv, empty, table, tuple(hw_shape), window,
                                 shift, scale)


class _FusedAttention(torch.autograd.Function):

    @staticmethod
    def forward(ctx, qkv, empty, table, hw_shape, window, shift, scale):
        from .attention_kernels import attend
        qkv = qkv.contiguous()
        out = qkv.new_empty(*qkv.shape[:2], qkv.shape[2] // 3)
        sizes, consts = _cut(qkv, table, hw_shape, window, shift)
        attend((table.shape[1], sizes[-1]),
               (qkv, empty, table, out, scale, *sizes), consts)
        ctx.save_for_backward(qkv, empty, table)
        ctx.scale, ctx.sizes, ctx.consts = scale, sizes, consts
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        from .attention_kernels import attend_backward, table_gradient
        qkv, empty, table = ctx.saved_tensors
        heads, groups = table.shape[1], ctx.sizes[-1]
        window, places = ctx.consts[:2]
        qkv_grad, table_grad, empty_grad = torch.empty_like(qkv), None, None
        parts = empty_parts = None
        if ctx.needs_input_grad[2]:
            parts = qkv.new_empty(
                groups, heads, places, places, dtype=torch.float32)
        if ctx.needs_input_grad[1]:
            empty_parts = qkv.new_empty(
                groups, qkv.shape[2], dtype=torch.float32)
        attend_backward((heads, groups),
                        (qkv, empty, table, grad.to(qkv.dtype).contiguous(),
                         qkv_grad, parts, empty_parts, ctx.scale, *ctx.sizes),
                        ctx.consts)
        if parts is not None:
            table_grad = torch.empty_like(table)
            block = 16
            table_gradient((heads, -(-len(table) // block)),
                           (parts, table_grad, heads, groups),
                           (window, places, block))
        if empty_parts is not None:
            empty_grad = empty_parts.sum(0).to(empty.dtype)
        return qkv_grad, empty_grad, table_grad, *(None, ) * 4


def _cut(qkv, table, hw_shape, window, shift):
    """What the kernels are told: sizes, and what they are compiled for."""
    (height, width), heads = hw_shape, table.shape[1]
    windows = len(qkv) * -(-height // window) * -(-width // window)
    groups = max(1, min(windows, _PROGRAMS // heads))
    dims = qkv.shape[2] // (3 * heads)
    power = [max(16, 1 << (n - 1).bit_length()) for n in (window**2, dims)]
    # Float32 as torch was told to compute it: with or without TF32.
    precision = 'tf32' if torch.backends.cuda.matmul.allow_tf32 else 'tf32x3'
    return ((len(qkv), height, width, heads, shift, groups),
            (window, power[0], dims, power[1], precision))
