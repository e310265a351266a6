"""What the Mona kernels share: norms in chunks, GELU, dropout from a seed.

A tile has BM tokens; ``width`` channels are visited in chunks of BC. The
width comes in as ``units * UNIT``: its divisor UNIT is constant, so that
loads are vectors, and one compiled kernel serves all widths.
"""
import triton
import triton.language as tl


@triton.jit
def add_chunk(mean, m2, v, inside, count, size):
    """Mean and squared deviations of ``count`` values, and of a chunk more.

    With the chunk's own mean m' and squared deviations M', d = m' - m:
    ``M += M' + d^2 count size / (count + size)``,
    ``m += d size / (count + size)`` (Chan, Golub and LeVeque, 1979).
    """
    part = tl.sum(v, 1) / size
    off = tl.where(inside[None, :], v - part[:, None], 0.)
    delta = part - mean
    share = size / (count + size)
    m2 += tl.sum(off * off, 1) + delta * delta * (count * share)
    return mean + delta * share, m2


@triton.jit
def normal_cdf(z):
    """P(Z <= z): ``gelu(z) = z P``."""
    return 0.5 + 0.5 * tl.erf(z * 0.7071067811865476)


@triton.jit
def normal_pdf(z):
    """p(z): ``gelu'(z) = P + z p``."""
    return tl.exp(-0.5 * z * z) * 0.3989422804014327


@triton.jit
def drop_factor(seed, token, rate, BM: tl.constexpr, NP: tl.constexpr):
    """1 / (1 - rate) where dropout keeps, else 0: (BM, NP).

    Four neighbours share a Philox block; its counter is the token's number
    and theirs, so every tiling draws the same.
    """
    quarter = tl.arange(0, NP // 4)
    block = token[:, None] * (NP // 4) + quarter[None, :]
    a, b, c, d = tl.rand4x(seed, block)
    u = tl.reshape(tl.join(tl.join(a, b), tl.join(c, d)), (BM, NP))
    return tl.where(u >= rate, 1 / (1 - rate), 0.)


@triton.jit
def map_tile(height, across, TH: tl.constexpr, TW: tl.constexpr):
    """Where a program's TH x TW tokens of a map sit.

    Returns the number of the map's first token, rows, columns, and which of
    them there are.
    """
    columns = tl.cdiv(across, TW)
    tiles = tl.cdiv(height, TH) * columns
    image = tl.program_id(0) // tiles
    tile = tl.program_id(0) % tiles
    p = tl.arange(0, TH * TW)
    h = tile // columns * TH + p // TW
    w = tile % columns * TW + p % TW
    first = image.to(tl.int64) * height * across
    return first, h, w, (h < height) & (w < across)


@triton.jit
def filter_map(source, filters, h, w, height, across, FLIP: tl.constexpr,
               N: tl.constexpr, NP: tl.constexpr, K: tl.constexpr,
               BM: tl.constexpr):
    """Depth-wise filtering of the tokens at (h, w): (BM, NP), float32.

    ``source`` (H * W, N); ``filters`` (K * K, NP). FLIP turns the filter
    round, which is the gradient of filtering.
    """
    k = tl.arange(0, NP)
    out = tl.zeros([BM, NP], tl.float32)
    for i in range(K):
        y = h + (i - K // 2)
        for j in tl.static_range(K):
            x = w + (j - K // 2)
            ok = (y >= 0) & (y < height) & (x >= 0) & (x < across)
            v = tl.load(source + (y * across + x)[:, None] * N + k[None, :],
                        ok[:, None] & (k < N)[None, :], 0.).to(tl.float32)
            if FLIP:
                tap = K * K - 1 - i * K - j
            else:
                tap = i * K + j
            out += v * tl.load(filters + tap * NP + k)[None, :]
    return out


@triton.jit
def up_chunk(act, weight, bias, stream, at, col, inside, ok, k,
             N: tl.constexpr, DOT: tl.constexpr):
    """``stream + act U^T + u`` of a chunk of channels, float32.

    ``act`` (BM, NP) in the products' dtype, ``weight`` U (C, N), ``bias`` u
    (C, ); ``at`` are the chunk's places in ``stream``, ``ok`` those there are.
    """
    u = tl.load(weight + col[None, :] * N + k[:, None],
                inside[None, :] & (k < N)[:, None], 0.)
    v = tl.dot(act, u.to(act.dtype), input_precision=DOT)
    v += tl.load(bias + col, inside, 0.).to(tl.float32)[None, :]
    return v + tl.load(stream + at, ok, 0.).to(tl.float32)
