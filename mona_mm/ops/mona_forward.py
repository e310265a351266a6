"""Mona's forward pass in two kernels.

With the branch b of the block, its drop-path factor s (per sample), the
layer's norm (weight w, bias v) and both scales g, h::

    x   = x0 + s b                                               (T, C)
    low = ((x - mean) rstd w g + v g + x h) D^T + d              (T, n)

is :data:`mona_down`; without the scaled norm ``low = x D^T + d``. With the
combined filters F (skip included), the point-wise matrix P (likewise) and the
frozen norm that follows::

    mixed[y, x] = f + sum_ij F[i, j] low[y + i - K/2, x + j - K/2]
    act = dropout(gelu(mixed P^T + p))                           (T, n)
    y   = x + act U^T + u                                        (T, C)
    t   = norm(y)                                                (T, C)

is :data:`mona_up`, on tiles of TH x TW tokens of a map. Sums and norms are
float32; x and y keep the stream's dtype, what enters a product has the
dtype of ``low``.
"""
import triton.language as tl

from .launch import kernel
from .tiles import (
    add_chunk,
    drop_factor,
    filter_map,
    map_tile,
    normal_cdf,
    up_chunk,
)


@kernel('tokens', 'area', 'scale_at', 'units', num_warps=4, num_stages=2)
def mona_down(x, branch, scales, norm_w, norm_b, gamma, gammax, weight, bias,
              stream, low, stats, tokens, area, scale_at, units, eps,
              N: tl.constexpr, NP: tl.constexpr, UNIT: tl.constexpr,
              BM: tl.constexpr, BC: tl.constexpr, DOT: tl.constexpr):
    """(T, C), (T, C) -> stream (T, C), low (T, n), statistics."""
    width = units * UNIT
    first = tl.program_id(0).to(tl.int64) * BM
    row, k = tl.arange(0, BM), tl.arange(0, NP)
    live = first + row < tokens
    x += first * width
    if branch is not None:
        branch += first * width
        stream += first * width
    if scales is not None:
        sample = (first + row) // area
        s = tl.load(scales + scale_at + sample, live, 0.)
    else:
        s = tl.full([BM], 1., tl.float32)
    if gamma is not None:
        mu = tl.zeros([BM], tl.float32)
        m2 = tl.zeros([BM], tl.float32)
        for c in range(0, width, BC):
            col = c + tl.arange(0, BC)
            inside = col < width
            at = row[:, None] * width + col[None, :]
            ok = live[:, None] & inside[None, :]
            v = tl.load(x + at, ok, 0.).to(tl.float32)
            if branch is not None:
                v += s[:, None] * tl.load(branch + at, ok, 0.).to(tl.float32)
                v = v.to(stream.dtype.element_ty).to(tl.float32)
            mu, m2 = add_chunk(mu, m2, v, inside, c * 1.,
                               tl.minimum(width - c, BC) * 1.)
        r = 1 / tl.sqrt(m2 / width + eps)
        if stats is not None:
            tl.store(stats + 2 * (first + row), mu, live)
            tl.store(stats + 2 * (first + row) + 1, r, live)
    dtype = low.dtype.element_ty
    out = tl.zeros([BM, NP], tl.float32)
    for c in range(0, width, BC):
        col = c + tl.arange(0, BC)
        inside = col < width
        at = row[:, None] * width + col[None, :]
        ok = live[:, None] & inside[None, :]
        v = tl.load(x + at, ok, 0.).to(tl.float32)
        if branch is not None:
            v += s[:, None] * tl.load(branch + at, ok, 0.).to(tl.float32)
            v = v.to(stream.dtype.element_ty)
            tl.store(stream + at, v, ok)
            v = v.to(tl.float32)
        if gamma is not None:
            g = tl.load(gamma + col, inside, 0.).to(tl.float32)
            a = g * tl.load(norm_w + col, inside, 0.).to(tl.float32)
            b = g * tl.load(norm_b + col, inside, 0.).to(tl.float32)
            h = tl.load(gammax + col, inside, 0.).to(tl.float32)
            v = ((v - mu[:, None]) * r[:, None] * a[None, :] + b[None, :] +
                 v * h[None, :])
        d = tl.load(weight + k[None, :] * width + col[:, None],
                    inside[:, None] & (k < N)[None, :], 0.)
        out = tl.dot(v.to(dtype), d.to(dtype), out, input_precision=DOT)
    out += tl.load(bias + k, k < N, 0.).to(tl.float32)[None, :]
    at = row[:, None] * N + k[None, :]
    tl.store(low + first * N + at, out.to(dtype),
             live[:, None] & (k < N)[None, :])


@kernel('height', 'across', 'filters_at', 'seed_at', 'units', num_warps=4,
        num_stages=2)
def mona_up(stream, low, filters, point_bias, weight, bias, seeds, next_w,
            next_b, y, t, mixed, stats, height, across, filters_at,
            seed_at, units, rate, eps,
            N: tl.constexpr, NP: tl.constexpr, K: tl.constexpr,
            UNIT: tl.constexpr, TH: tl.constexpr, TW: tl.constexpr,
            BC: tl.constexpr, DOT: tl.constexpr):
    """Stream (T, C), low (T, n) -> y (T, C), t (T, C), mixed (T, n)."""
    width = units * UNIT
    k = tl.arange(0, NP)
    real = (k < N)[None, :]
    first, h, w, live = map_tile(height, across, TH, TW)
    low += first * N
    filters += filters_at
    out = filter_map(low, filters, h, w, height, across, False, N, NP, K,
                     TH * TW)
    out += tl.load(filters + K * K * NP + k)[None, :]
    dtype = low.dtype.element_ty
    narrow = out.to(dtype)
    token = h * across + w
    if mixed is not None:
        tl.store(mixed + first * N + token[:, None] * N + k[None, :], narrow,
                 live[:, None] & real)
    point = tl.load(filters + (K * K + 1) * NP + k[:, None] * NP + k[None, :])
    z = tl.dot(narrow, point.to(dtype), input_precision=DOT)
    z += tl.load(point_bias + k, k < N, 0.).to(tl.float32)[None, :]
    act = z * normal_cdf(z)
    if seeds is not None:
        act *= drop_factor(tl.load(seeds + seed_at), first + token, rate,
                           TH * TW, NP)
    act = act.to(dtype)
    stream += first * width
    y += first * width
    mu = tl.zeros([TH * TW], tl.float32)
    m2 = tl.zeros([TH * TW], tl.float32)
    for c in range(0, width, BC):
        col = c + tl.arange(0, BC)
        inside = col < width
        at = token[:, None] * width + col[None, :]
        ok = live[:, None] & inside[None, :]
        v = up_chunk(act, weight, bias, stream, at, col, inside, ok, k,
                     N, DOT)
        v = v.to(y.dtype.element_ty)
        tl.store(y + at, v, ok)
        if next_w is not None:
            mu, m2 = add_chunk(mu, m2, v.to(tl.float32), inside, c * 1.,
                               tl.minimum(width - c, BC) * 1.)
    if next_w is not None:
        r = 1 / tl.sqrt(m2 / width + eps)
        if stats is not None:
            tl.store(stats + 2 * (first + token), mu, live)
            tl.store(stats + 2 * (first + token) + 1, r, live)
        t += first * width
        for c in range(0, width, BC):
            col = c + tl.arange(0, BC)
            inside = col < width
            at = token[:, None] * width + col[None, :]
            ok = live[:, None] & inside[None, :]
            v = up_chunk(act, weight, bias, stream, at, col, inside, ok, k,
                         N, DOT)
            v = v.to(y.dtype.element_ty).to(tl.float32)
            v = (v - mu[:, None]) * r[:, None]
            v *= tl.load(next_w + col, inside, 0.).to(tl.float32)[None, :]
            v += tl.load(next_b + col, inside, 0.).to(tl.float32)[None, :]
            tl.store(t + at, v.to(dtype), ok)
