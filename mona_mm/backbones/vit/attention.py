"""Attention within windows, with tokens that belong to no window.

ViTDet (arXiv 2203.16527, section 3) lets most blocks attend within windows
of the map, unshifted, and a few attend globally.
"""
from typing import Optional, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F


def split_heads(qkv: Tensor, num_heads: int) -> Tuple[Tensor, ...]:
    """Split (B, L, 3C) into q, k and v, each (B, heads, L, C / heads)."""
    parts = qkv.unflatten(-1, (3, num_heads, -1))
    return parts.permute(2, 0, 3, 1, 4).unbind(0)


def attend(q: Tensor, k: Tensor, v: Tensor, drop_rate: float = 0.) -> Tensor:
    """Let q (B, heads, L, D) attend; (B, L, heads * D)."""
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=drop_rate)
    return out.transpose(1, 2).flatten(2)


def attend_in_windows(qkv: Tensor,
                      empty: Optional[Tensor],
                      hw_shape: Tuple[int, int],
                      window_size: int,
                      num_heads: int,
                      tokens: int = 0,
                      drop_rate: float = 0.) -> Tensor:
    """Attention of patches within their window.

    A patch attends to the patches of its window and to all tokens; a token
    attends to everything. Where windows reach over the border of the map,
    their patches attend to the padding too, as in ViTDet: zeros that went
    through the qkv layer.

    Args:
        qkv (Tensor): (B, T + N, 3C) with N = H * W, tokens first.
        empty (Tensor, optional): (3C, ), what the qkv layer makes of zeros;
            needed where windows reach over the border.
        hw_shape (tuple[int, int]): (H, W).
        window_size (int): Side of the windows, in patches.
        num_heads (int): Number of heads.
        tokens (int): T. Defaults to 0.
        drop_rate (float): Dropout of the attention weights. Defaults to 0.

    Returns:
        Tensor: (B, T + N, C).
    """
    windows = to_windows(qkv[:, tokens:], hw_shape, window_size, empty)
    q, k, v = split_heads(windows, num_heads)
    if not tokens:
        out = attend(q, k, v, drop_rate)
        return from_windows(out, hw_shape, window_size)
    every = split_heads(qkv, num_heads)
    count = len(windows) // len(qkv)
    k, v = (torch.cat([t[:, :, :tokens].repeat_interleave(count, 0), inside],
                      dim=2) for t, inside in zip(every[1:], (k, v)))
    patches = from_windows(
        attend(q, k, v, drop_rate), hw_shape, window_size)
    first = attend(every[0][:, :, :tokens], *every[1:], drop_rate)
    return torch.cat([first, patches], dim=1)


def to_windows(x: Tensor, hw_shape: Tuple[int, int], size: int,
               empty: Optional[Tensor] = None) -> Tensor:
    """Cut maps into windows, row by row.

    Args:
        x (Tensor): (B, N, C) with N = H * W.
        hw_shape (tuple[int, int]): (H, W).
        size (int): S, the windows' side.
        empty (Tensor, optional): (C, ), what fills the windows that reach
            over the right and lower border.

    Returns:
        Tensor: (B * windows, S * S, C).
    """
    h, w = hw_shape
    down, right = -h % size, -w % size
    x = x.unflatten(1, (h, w))
    if down or right:
        full = empty.to(x.dtype).expand(len(x), h + down, w + right, -1)
        # Not in place: the copy has to stay in the graph of x.
        x = torch.cat([x, full[:, :h, w:]], dim=2) if right else x
        x = torch.cat([x, full[:, h:]], dim=1) if down else x
    x = x.unflatten(2, (-1, size)).unflatten(1, (-1, size))
    return x.transpose(2, 3).flatten(0, 2).flatten(1, 2)


def from_windows(x: Tensor, hw_shape: Tuple[int, int], size: int) -> Tensor:
    """Undo :func:`to_windows`: (B, N, C), without the padding."""
    h, w = hw_shape
    rows, columns = -(-h // size), -(-w // size)
    x = x.unflatten(1, (size, size)).unflatten(0, (-1, rows, columns))
    x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return x[:, :h, :w].flatten(1, 2)
