"""Gradients of Mona's activations in two kernels.

With the names of :mod:`.mona_forward`, and y^ = (y - mean) rstd for the
frozen norm with weight w'. :data:`mona_up_backward` computes again what is
cheap (act, gelu', the dropout factor m, y) and::

    dy = gy + rstd (gt w' - <gt w'> - y^ <gt w' y^>)             (T, C)
    g  = dy U  m  gelu'(z)              the gradient of z = mixed P^T + p
    gm = g P                            the gradient of mixed

where <.> is the mean over channels. :data:`mona_down_backward`, with x^ =
(x - mean) rstd of the layer's own norm::

    g1[y, x] = sum_ij F[i, j] gm[y - i + K/2, x - j + K/2]
    q  = g1 D                           the gradient of what is projected
    dx = dy + q h + rstd (q w g - <q w g> - x^ <q w g x^>)       (T, C)
    db = s dx                           the gradient of the branch

and ``dx = dy + q`` without the scaled norm.
"""
import triton.language as tl

from .launch import kernel
from .tiles import (
    drop_factor,
    filter_map,
    map_tile,
    normal_cdf,
    normal_pdf,
    up_chunk,
)


@kernel('tokens', 'filters_at', 'seed_at', 'units', num_warps=4,
        num_stages=2)
def mona_up_backward(stream, grad_y, grad_t, mixed, filters, point_bias,
                     weight, bias, seeds, next_w, stats, dy, act, g, gm,
                     tokens, filters_at, seed_at, units, rate,
                     N: tl.constexpr, NP: tl.constexpr, K: tl.constexpr,
                     UNIT: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
                     DOT: tl.constexpr):
    """Gradients of y and t (T, C) -> dy (T, C); act, g, gm (T, n)."""
    width = units * UNIT
    first = tl.program_id(0).to(tl.int64) * BM
    row, k = tl.arange(0, BM), tl.arange(0, NP)
    live = first + row < tokens
    stream += first * width
    narrow = first * N + row[:, None] * N + k[None, :]
    real = live[:, None] & (k < N)[None, :]
    dtype = mixed.dtype.element_ty
    filters += filters_at + (K * K + 1) * NP
    point = tl.load(filters + k[:, None] * NP + k[None, :])
    z = tl.dot(tl.load(mixed + narrow, real, 0.), point.to(dtype),
               input_precision=DOT)
    z += tl.load(point_bias + k, k < N, 0.).to(tl.float32)[None, :]
    cdf = normal_cdf(z)
    slope = cdf + z * normal_pdf(z)
    value = z * cdf
    if seeds is not None:
        factor = drop_factor(tl.load(seeds + seed_at), first + row, rate, BM,
                             NP)
        slope *= factor
        value *= factor
    value = value.to(dtype)
    tl.store(act + narrow, value, real)
    if grad_t is not None:
        grad_t += first * width
        dy += first * width
        mu = tl.load(stats + 2 * (first + row), live, 0.)
        r = tl.load(stats + 2 * (first + row) + 1, live, 0.)
        one = tl.zeros([BM], tl.float32)
        two = tl.zeros([BM], tl.float32)
        for c in range(0, width, BC):
            col = c + tl.arange(0, BC)
            inside = col < width
            at = row[:, None] * width + col[None, :]
            ok = live[:, None] & inside[None, :]
            v = up_chunk(value, weight, bias, stream, at, col, inside, ok, k,
                         N, DOT)
            v = v.to(stream.dtype.element_ty).to(tl.float32)
            v = (v - mu[:, None]) * r[:, None]
            d = tl.load(grad_t + at, ok, 0.).to(tl.float32)
            d *= tl.load(next_w + col, inside, 0.).to(tl.float32)[None, :]
            one += tl.sum(d, 1)
            two += tl.sum(d * v, 1)
        one /= width
        two /= width
    if grad_y is not None:
        grad_y += first * width
    out = tl.zeros([BM, NP], tl.float32)
    for c in range(0, width, BC):
        col = c + tl.arange(0, BC)
        inside = col < width
        at = row[:, None] * width + col[None, :]
        ok = live[:, None] & inside[None, :]
        if grad_t is not None:
            v = up_chunk(value, weight, bias, stream, at, col, inside, ok, k,
                         N, DOT)
            v = v.to(stream.dtype.element_ty).to(tl.float32)
            v = (v - mu[:, None]) * r[:, None]
            d = tl.load(grad_t + at, ok, 0.).to(tl.float32)
            d *= tl.load(next_w + col, inside, 0.).to(tl.float32)[None, :]
            d = r[:, None] * (d - one[:, None] - v * two[:, None])
            if grad_y is not None:
                d += tl.load(grad_y + at, ok, 0.).to(tl.float32)
            tl.store(dy + at, d.to(dy.dtype.element_ty), ok)
        else:
            d = tl.load(grad_y + at, ok, 0.).to(tl.float32)
        u = tl.load(weight + col[:, None] * N + k[None, :],
                    inside[:, None] & (k < N)[None, :], 0.)
        out = tl.dot(d.to(dtype), u.to(dtype), out, input_precision=DOT)
    out = (out * slope).to(dtype)
    tl.store(g + narrow, out, real)
    point = tl.load(filters + k[None, :] * NP + k[:, None])
    out = tl.dot(out, point.to(dtype), input_precision=DOT)
    tl.store(gm + narrow, out.to(dtype), real)


@kernel('height', 'across', 'filters_at', 'scale_at', 'units', num_warps=4,
        num_stages=2)
def mona_down_backward(dy, gm, stream, filters, norm_w, gamma, gammax, weight,
                       stats, scales, g1, dx, db, height, across,
                       filters_at, scale_at, units,
                       N: tl.constexpr, NP: tl.constexpr, K: tl.constexpr,
                       UNIT: tl.constexpr, TH: tl.constexpr,
                       TW: tl.constexpr, BC: tl.constexpr,
                       DOT: tl.constexpr):
    """Gradients gm (T, n), dy (T, C) -> g1 (T, n); dx, db (T, C)."""
    width = units * UNIT
    k = tl.arange(0, NP)
    first, h, w, live = map_tile(height, across, TH, TW)
    out = filter_map(gm + first * N, filters + filters_at, h, w, height,
                     across, True, N, NP, K, TH * TW)
    dtype = gm.dtype.element_ty
    narrow = out.to(dtype)
    token = h * across + w
    tl.store(g1 + first * N + token[:, None] * N + k[None, :], narrow,
             live[:, None] & (k < N)[None, :])
    if dx is not None:
        dy += first * width
        dx += first * width
        if db is not None:
            db += first * width
        if scales is not None:
            s = tl.load(scales + scale_at + first // (height * across))
        else:
            s = 1.
        if gamma is not None:
            stream += first * width
            mu = tl.load(stats + 2 * (first + token), live, 0.)
            r = tl.load(stats + 2 * (first + token) + 1, live, 0.)
            one = tl.zeros([TH * TW], tl.float32)
            two = tl.zeros([TH * TW], tl.float32)
            for c in range(0, width, BC):
                col = c + tl.arange(0, BC)
                inside = col < width
                at = token[:, None] * width + col[None, :]
                ok = live[:, None] & inside[None, :]
                d = tl.load(weight + k[:, None] * width + col[None, :],
                            inside[None, :] & (k < N)[:, None], 0.)
                q = tl.dot(narrow, d.to(dtype), input_precision=DOT)
                a = tl.load(gamma + col, inside, 0.).to(tl.float32)
                a *= tl.load(norm_w + col, inside, 0.).to(tl.float32)
                q *= a[None, :]
                v = tl.load(stream + at, ok, 0.).to(tl.float32)
                v = (v - mu[:, None]) * r[:, None]
                one += tl.sum(q, 1)
                two += tl.sum(q * v, 1)
            one /= width
            two /= width
        for c in range(0, width, BC):
            col = c + tl.arange(0, BC)
            inside = col < width
            at = token[:, None] * width + col[None, :]
            ok = live[:, None] & inside[None, :]
            d = tl.load(weight + k[:, None] * width + col[None, :],
                        inside[None, :] & (k < N)[:, None], 0.)
            q = tl.dot(narrow, d.to(dtype), input_precision=DOT)
            if gamma is not None:
                a = tl.load(gamma + col, inside, 0.).to(tl.float32)
                a *= tl.load(norm_w + col, inside, 0.).to(tl.float32)
                v = tl.load(stream + at, ok, 0.).to(tl.float32)
                v = (v - mu[:, None]) * r[:, None]
                v = r[:, None] * (q * a[None, :] - one[:, None] -
                                  v * two[:, None])
                b = tl.load(gammax + col, inside, 0.).to(tl.float32)
                q = q * b[None, :] + v
            q += tl.load(dy + at, ok, 0.).to(tl.float32)
            tl.store(dx + at, q.to(dx.dtype.element_ty), ok)
            if db is not None:
                tl.store(db + at, (q * s).to(db.dtype.element_ty), ok)
