"""Gradients of Mona's parameters in three kernels, without atomics.

With the names of :mod:`.mona_backward` and sums over tokens t, what is read
in full width enters only three products, x^ (normed) and x among them::

    A = g1' x^,  B = g1' x   (n, C)      Q = act' dy   (n, C)

From them and the sums S = sum g1 (n) follow::

    dD = A (w g) + S (v g) + B h         dU = Q'           du = sum dy
    a_c = sum_k D A,  z_c = sum_k D S,   dh_c = sum_k D B
    dw = a g,  dv = z g,  dg = a w + z v
    dP = g' mixed,  dp = sum g,  dd = S
    dF[i, j] = sum gm[y, x] low[y + i - K/2, x + j - K/2]

each stored filter takes the centre of dF, divided by their number, and each
of their biases the same share of sum gm. :data:`mona_products` and
:data:`mona_filters` sum parts of the tokens, :data:`mona_collect` adds the
parts in a fixed order: results do not vary from run to run. One part has, in
order, A, B, Q (NP, C each), du (C), dP (NP, NP) and S, dp, sum gm (NP each).
"""
import triton
import triton.language as tl

from .launch import kernel


@kernel('tokens', 'span', 'units', num_warps=8, num_stages=2)
def mona_products(stream, dy, act, g, gm, g1, mixed, stats, parts,
                  tokens, span, units,
                  N: tl.constexpr, NP: tl.constexpr, UNIT: tl.constexpr,
                  BM: tl.constexpr, BC: tl.constexpr, DOT: tl.constexpr):
    """Products over ``span`` tokens, one block of columns per program."""
    width = units * UNIT
    blocks = tl.cdiv(width, BC)
    block = tl.program_id(0)
    first = tl.program_id(1).to(tl.int64) * span
    parts += tl.program_id(1).to(tl.int64) * (
        (3 * NP + 1) * width + NP * (NP + 3))
    k, row = tl.arange(0, NP), tl.arange(0, BM)
    dtype = g1.dtype.element_ty
    g1 += first * N
    if block < blocks:
        col = block * BC + tl.arange(0, BC)
        inside = col < width
        stream += first * width
        dy += first * width
        act += first * N
        a = tl.zeros([NP, BC], tl.float32)
        b = tl.zeros([NP, BC], tl.float32)
        q = tl.zeros([NP, BC], tl.float32)
        total = tl.zeros([BC], tl.float32)
        for start in range(0, span, BM):
            here = start + row
            live = (here < span) & (first + here < tokens)
            at = here[:, None] * width + col[None, :]
            ok = live[:, None] & inside[None, :]
            turned = here[None, :] * N + k[:, None]
            real = live[None, :] & (k < N)[:, None]
            left = tl.load(g1 + turned, real, 0.)
            v = tl.load(stream + at, ok, 0.).to(tl.float32)
            b = tl.dot(left, v.to(dtype), b, input_precision=DOT)
            if stats is not None:
                mu = tl.load(stats + 2 * (first + here), live, 0.)
                r = tl.load(stats + 2 * (first + here) + 1, live, 0.)
                v = (v - mu[:, None]) * r[:, None]
                a = tl.dot(left, v.to(dtype), a, input_precision=DOT)
            v = tl.load(dy + at, ok, 0.).to(tl.float32)
            total += tl.sum(v, 0)
            left = tl.load(act + turned, real, 0.)
            q = tl.dot(left, v.to(dtype), q, input_precision=DOT)
        at = k[:, None] * width + col[None, :]
        inside = inside[None, :] & (k < N)[:, None]
        tl.store(parts + at, a, inside)
        tl.store(parts + NP * width + at, b, inside)
        tl.store(parts + 2 * NP * width + at, q, inside)
        tl.store(parts + 3 * NP * width + col, total, col < width)
    else:
        g += first * N
        gm += first * N
        mixed += first * N
        parts += (3 * NP + 1) * width
        p = tl.zeros([NP, NP], tl.float32)
        one = tl.zeros([NP], tl.float32)
        two = tl.zeros([NP], tl.float32)
        three = tl.zeros([NP], tl.float32)
        for start in range(0, span, BM):
            here = start + row
            live = (here < span) & (first + here < tokens)
            place = here[:, None] * N + k[None, :]
            there = live[:, None] & (k < N)[None, :]
            one += tl.sum(tl.load(g1 + place, there, 0.).to(tl.float32), 0)
            two += tl.sum(tl.load(g + place, there, 0.).to(tl.float32), 0)
            three += tl.sum(tl.load(gm + place, there, 0.).to(tl.float32), 0)
            left = tl.load(g + here[None, :] * N + k[:, None],
                           live[None, :] & (k < N)[:, None], 0.)
            p = tl.dot(left, tl.load(mixed + place, there, 0.), p,
                       input_precision=DOT)
        tl.store(parts + k[:, None] * NP + k[None, :], p)
        parts += NP * NP
        tl.store(parts + k, one)
        tl.store(parts + NP + k, two)
        tl.store(parts + 2 * NP + k, three)


@kernel('tokens', 'span', 'height', 'across', num_warps=4, num_stages=2)
def mona_filters(gm, low, parts, tokens, span, height, across,
                 N: tl.constexpr, NP: tl.constexpr, K: tl.constexpr,
                 KP: tl.constexpr, BM: tl.constexpr):
    """One row of dF over ``span`` tokens: parts (., K, KP, NP)."""
    i = tl.program_id(0)
    first = tl.program_id(1).to(tl.int64) * span
    gm += first * N
    low += first * N
    k, j = tl.arange(0, NP), tl.arange(0, KP)
    shift = (i - K // 2) * across + (j - K // 2)
    total = tl.zeros([KP, BM, NP], tl.float32)
    for start in range(0, span, BM):
        here = start + tl.arange(0, BM)
        live = (here < span) & (first + here < tokens)
        place = ((first + here) % (height * across)).to(tl.int32)
        y = place // across + (i - K // 2)
        x = (place % across)[None, :] + (j - K // 2)[:, None]
        live = live & (y >= 0) & (y < height)
        v = tl.load(gm + here[:, None] * N + k[None, :],
                    live[:, None] & (k < N)[None, :], 0.).to(tl.float32)
        ok = live[None, :] & (x >= 0) & (x < across) & (j < K)[:, None]
        near = here[None, :] + shift[:, None]
        u = tl.load(low + near[:, :, None] * N + k[None, None, :],
                    ok[:, :, None] & (k < N)[None, None, :],
                    0.).to(tl.float32)
        total += u * v[None, :, :]
    at = j[:, None] * NP + k[None, :]
    parts += (tl.program_id(1) * K + i).to(tl.int64) * KP * NP
    tl.store(parts + at, tl.sum(total, 1))


@triton.jit
def add_parts(parts, count, stride, at, ok, BP: tl.constexpr):
    """Sum of ``count`` parts at the places ``at`` (R, S), float32."""
    p = tl.arange(0, BP)[:, None, None]
    out = tl.zeros(at.shape, tl.float32)
    for first in range(0, count, BP):
        v = tl.load(parts + (first + p) * stride + at[None, :, :],
                    (first + p < count) & ok[None, :, :], 0.)
        out += tl.sum(v, 0)
    return out


@kernel('count', 'filter_count', 'units', num_warps=4, num_stages=2)
def mona_collect(parts, filter_parts, norm_w, norm_b, gamma, gammax, weight,
                 out, count, filter_count, units,
                 N: tl.constexpr, NP: tl.constexpr, SIZES: tl.constexpr,
                 K: tl.constexpr, KP: tl.constexpr, UNIT: tl.constexpr,
                 BC: tl.constexpr, BP: tl.constexpr):
    """Parts -> all gradients of a layer, in the order of its parameters."""
    width = units * UNIT
    blocks = tl.cdiv(width, BC)
    block = tl.program_id(0)
    stride = (3 * NP + 1) * width + NP * (NP + 3)
    k = tl.arange(0, NP)
    real = k < N
    one = tl.full([1], 0, tl.int32)
    sums = parts + (3 * NP + 1) * width + NP * NP
    down = out  # where D's gradient begins
    if gamma is not None:
        down += 4 * width
    up = down + N * width + N
    point = up + N * width + width
    taps = point + N * N + N
    if block < blocks:
        col = block * BC + tl.arange(0, BC)
        inside = col < width
        at = k[:, None] * width + col[None, :]
        ok = real[:, None] & inside[None, :]
        b = add_parts(parts + NP * width, count, stride, at, ok, BP)
        if gamma is not None:
            a = add_parts(parts, count, stride, at, ok, BP)
            s = add_parts(sums, count, stride, k[:, None] + one[None, :],
                          real[:, None], BP)
            g = tl.load(gamma + col, inside, 0.)
            w = tl.load(norm_w + col, inside, 0.)
            v = tl.load(norm_b + col, inside, 0.)
            h = tl.load(gammax + col, inside, 0.)
            d = tl.load(weight + at, ok, 0.)
            tl.store(out + 3 * width + col, tl.sum(d * b, 0), inside)
            scale = tl.sum(d * a, 0)
            shift = tl.sum(d * s, 0)
            tl.store(out + col, scale * g, inside)
            tl.store(out + width + col, shift * g, inside)
            tl.store(out + 2 * width + col, scale * w + shift * v, inside)
            b = (a * (w * g)[None, :] + s * (v * g)[None, :] +
                 b * h[None, :])
        tl.store(down + at, b, ok)
        q = add_parts(parts + 2 * NP * width, count, stride, at, ok, BP)
        tl.store(up + col[None, :] * N + k[:, None], q, ok)
        du = add_parts(parts + 3 * NP * width, count, stride,
                       one[:, None] + col[None, :], inside[None, :], BP)
        tl.store(up + N * width + col, tl.sum(du, 0), inside)
    elif block == blocks:
        # In chunks: rows of dP, then the sums.
        for c in range(0, NP, BC):
            col = c + tl.arange(0, BC)
            p = add_parts(sums - NP * NP, count, stride,
                          k[:, None] * NP + col[None, :],
                          real[:, None] & (col < N)[None, :], BP)
            tl.store(point + k[:, None] * N + col[None, :], p,
                     real[:, None] & (col < N)[None, :])
        line = one[:, None] + k[None, :]
        total = tl.sum(
            add_parts(sums, count, stride, line, real[None, :], BP), 0)
        tl.store(down + N * width + k, total, real)
        total = tl.sum(
            add_parts(sums + NP, count, stride, line, real[None, :], BP), 0)
        tl.store(point + N * N + k, total, real)
        total = tl.sum(
            add_parts(sums + 2 * NP, count, stride, line, real[None, :], BP),
            0)
        for n in tl.static_range(len(SIZES)):
            taps += N * SIZES[n] * SIZES[n]
            tl.store(taps + k, total / len(SIZES), real)
            taps += N
    else:
        i = block - blocks - 1
        j = tl.arange(0, KP)
        f = add_parts(filter_parts + i * (KP * NP), filter_count,
                      K * KP * NP, j[:, None] * NP + k[None, :],
                      (j < K)[:, None] & real[None, :], BP)
        f /= len(SIZES)
        for n in tl.static_range(len(SIZES)):
            size = SIZES[n]
            edge = (K - size) // 2
            inner = (j >= edge) & (j < edge + size)
            inner = inner & (i >= edge) & (i < edge + size)
            to = k[None, :] * (size * size) + (i - edge) * size
            tl.store(taps + to + (j - edge)[:, None], f,
                     inner[:, None] & real[None, :])
            taps += N * size * size + N
