"""Combined filters of many layers by one kernel.

The sum of :mod:`.filters`, ``F = pad(mean_i(F_i)) + impulse`` and ``P + I``,
laid out for :mod:`.mona_forward`: per layer F (K * K, NP), the mean of the
biases (NP) and (P + I)' (NP, NP), channels last, zero beyond n.
"""
import triton.language as tl

from .launch import kernel


@kernel(num_warps=4, num_stages=2)
def combine_layers(table, out, N: tl.constexpr, NP: tl.constexpr,
                   SIZES: tl.constexpr, K: tl.constexpr, KP: tl.constexpr):
    """Table of addresses (L, 2 * filters + 1) -> (L, K * K + 1 + NP, NP).

    A row of the table has weight and bias of every filter in turn, then the
    point-wise matrix; all are float32.
    """
    layer, i = tl.program_id(0), tl.program_id(1)
    table += layer * (2 * len(SIZES) + 1)
    out += layer * ((K * K + 1 + NP) * NP)
    k = tl.arange(0, NP)
    real = k < N
    if i < K:
        j = tl.arange(0, KP)
        total = tl.zeros([KP, NP], tl.float32)
        for f in tl.static_range(len(SIZES)):
            size = SIZES[f]
            edge = (K - size) // 2
            source = tl.load(table + 2 * f).to(tl.pointer_type(tl.float32))
            inner = (j >= edge) & (j < edge + size)
            inner = inner & (i >= edge) & (i < edge + size)
            at = k[None, :] * (size * size) + (i - edge) * size
            total += tl.load(source + at + (j - edge)[:, None],
                             inner[:, None] & real[None, :], 0.)
        total /= len(SIZES)
        impulse = (j == K // 2) & (i == K // 2)
        total += tl.where(impulse[:, None] & real[None, :], 1., 0.)
        tl.store(out + (i * K + j)[:, None] * NP + k[None, :], total,
                 (j < K)[:, None] & (k < NP)[None, :])
    else:
        out += K * K * NP
        bias = tl.zeros([NP], tl.float32)
        for f in tl.static_range(len(SIZES)):
            source = tl.load(table + 2 * f + 1)
            source = source.to(tl.pointer_type(tl.float32))
            bias += tl.load(source + k, real, 0.)
        tl.store(out + k, bias / len(SIZES))
        source = tl.load(table + 2 * len(SIZES))
        source = source.to(tl.pointer_type(tl.float32))
        square = k[:, None] * N + k[None, :]
        point = tl.load(source + square, real[:, None] & real[None, :], 0.)
        same = (k[:, None] == k[None, :]) & real[:, None]
        point += tl.where(same, 1., 0.)
        tl.store(out + NP + k[None, :] * NP + k[:, None], point)
