"""Window attention in Triton: one launch forward, one or two backward.

Queries, keys and values are read in token order. Which tokens a window holds
follows from its number: no index, no mask and no plan is stored, and nothing
is compiled for an image's size. A program does one head of several windows.

With tokens padded to whole windows and rolled by the shift, place p of a
window has the row and column (y, x); e stands where no token is::

    s_ij = scale q_i k_j + table[y_i - y_j, x_i - x_j] - 100 [regions differ]
    a = softmax(s)                                          over j
    o_i = sum_j a_ij v_j

and backward, with g the gradient of o (0 at places without a token)::

    dv_j = sum_i a_ij g_i          da_ij = g_i v_j
    ds_ij = a_ij (da_ij - sum_j a_ij da_ij)
    dq_i = scale sum_j ds_ij k_j   dk_j = scale sum_i ds_ij q_i
    dtable[t] = sum of ds_ij over all pairs at offset t and all windows
    de = sum of (0, dk_j, dv_j) over all places without a token
"""
import triton
import triton.language as tl

from .launch import kernel

#: Exponentials are powers of two: scores carry this factor.
LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _offsets(head, heads, SIDE: tl.constexpr, PLACES: tl.constexpr):
    """Index into the bias table for every pair of places, and who exists."""
    i = tl.arange(0, PLACES)
    y, x = i // SIDE, i % SIDE
    offset = ((y[:, None] - y[None, :] + SIDE - 1) * (2 * SIDE - 1) +
              x[:, None] - x[None, :] + SIDE - 1)
    there = i < SIDE * SIDE
    return offset * heads + head, there[:, None] & there[None, :]


@triton.jit
def _bias(table, head, heads, SIDE: tl.constexpr, PLACES: tl.constexpr):
    """Bias of every pair, times log2(e); -inf for keys that do not exist."""
    index, pairs = _offsets(head, heads, SIDE, PLACES)
    bias = tl.load(table + index, mask=pairs, other=0.).to(tl.float32) * LOG2E
    key = tl.arange(0, PLACES) < SIDE * SIDE
    return tl.where(key[None, :], bias, float('-inf'))


@triton.jit
def _window(number, H, W, shift, SIDE: tl.constexpr, PLACES: tl.constexpr):
    """(image, token of every place, whether it is one, its region)."""
    rows, cols = (H + SIDE - 1) // SIDE, (W + SIDE - 1) // SIDE
    image = number // (rows * cols)
    row, col = (number // cols) % rows, number % cols
    i = tl.arange(0, PLACES)
    y, x = i // SIDE, i % SIDE
    # The roll brings the first rows to the end of the last windows.
    far = (((row == rows - 1) & (y >= SIDE - shift)).to(tl.int32) * 2 +
           ((col == cols - 1) & (x >= SIDE - shift)).to(tl.int32))
    y += row * SIDE + shift
    x += col * SIDE + shift
    y = tl.where(y >= rows * SIDE, y - rows * SIDE, y)
    x = tl.where(x >= cols * SIDE, x - cols * SIDE, x)
    there = (i < SIDE * SIDE) & (y < H) & (x < W)
    return image.to(tl.int64), y * W + x, there, far


@triton.jit
def _load(base, token, stride, there, DIMS: tl.constexpr, WIDTH: tl.constexpr):
    """(PLACES, WIDTH) of a head, zeros beside it."""
    d = tl.arange(0, WIDTH)
    mask = there[:, None]
    if DIMS < WIDTH:
        mask = mask & (d < DIMS)[None, :]
    return tl.load(base + token[:, None] * stride + d[None, :], mask=mask,
                   other=0.)


@triton.jit
def _store(base, token, stride, there, value, DIMS: tl.constexpr,
           WIDTH: tl.constexpr):
    d = tl.arange(0, WIDTH)
    mask = there[:, None]
    if DIMS < WIDTH:
        mask = mask & (d < DIMS)[None, :]
    tl.store(base + token[:, None] * stride + d[None, :],
             value.to(base.dtype.element_ty), mask=mask)


@triton.jit
def _empty(empty, like, DIMS: tl.constexpr, WIDTH: tl.constexpr):
    """What stands at places without a token, in the dtype of ``like``."""
    d = tl.arange(0, WIDTH)
    value = tl.load(empty + d, mask=d < DIMS, other=0.)
    return value.to(like.dtype)[None, :]


@triton.jit
def _rows(qkv, empty, head, heads, token, there, DIMS: tl.constexpr,
          WIDTH: tl.constexpr, SIDE: tl.constexpr, PLACES: tl.constexpr):
    """Queries, keys and values of a window, (PLACES, WIDTH) each."""
    dims = heads * DIMS
    base = qkv + head * DIMS
    q = _load(base, token, 3 * dims, there, DIMS, WIDTH)
    k = _load(base + dims, token, 3 * dims, there, DIMS, WIDTH)
    v = _load(base + 2 * dims, token, 3 * dims, there, DIMS, WIDTH)
    if empty is not None:
        # A query without a token is of no use: its output goes nowhere.
        gap = ((tl.arange(0, PLACES) < SIDE * SIDE) & ~there)[:, None]
        base = empty + head * DIMS
        k = tl.where(gap, _empty(base + dims, k, DIMS, WIDTH), k)
        v = tl.where(gap, _empty(base + 2 * dims, v, DIMS, WIDTH), v)
    return q, k, v


@triton.jit
def _exponents(q, k, scale, bias, far, PRECISION: tl.constexpr):
    """exp(s - max s) and its sum over the keys."""
    s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    s = s * (scale * LOG2E) + bias
    s = tl.where(far[:, None] == far[None, :], s, s - 100 * LOG2E)
    e = tl.exp2(s - tl.max(s, 1)[:, None])
    return e, tl.sum(e, 1)


@kernel('B', 'H', 'W', 'heads', 'shift', 'groups', num_warps=4, num_stages=1)
def attend(qkv, empty, table, out, scale, B, H, W, heads, shift, groups,
           SIDE: tl.constexpr, PLACES: tl.constexpr, DIMS: tl.constexpr,
           WIDTH: tl.constexpr, PRECISION: tl.constexpr):
    """(B, N, 3C) -> (B, N, C); grid (heads, groups)."""
    head = tl.program_id(0)
    bias = _bias(table, head, heads, SIDE, PLACES)
    dims = heads * DIMS
    windows = B * ((H + SIDE - 1) // SIDE) * ((W + SIDE - 1) // SIDE)
    for number in range(tl.program_id(1), windows, groups):
        image, token, there, far = _window(number, H, W, shift, SIDE, PLACES)
        first = image * H * W * dims
        q, k, v = _rows(qkv + 3 * first, empty, head, heads, token, there,
                        DIMS, WIDTH, SIDE, PLACES)
        e, total = _exponents(q, k, scale, bias, far, PRECISION)
        o = tl.dot(e.to(v.dtype), v, input_precision=PRECISION)
        _store(out + first + head * DIMS, token, dims, there,
               o / total[:, None], DIMS, WIDTH)


@kernel('B', 'H', 'W', 'heads', 'shift', 'groups', num_warps=4, num_stages=1)
def attend_backward(qkv, empty, table, grad, qkv_grad, parts, empty_parts,
                    scale, B, H, W, heads, shift, groups, SIDE: tl.constexpr,
                    PLACES: tl.constexpr, DIMS: tl.constexpr,
                    WIDTH: tl.constexpr, PRECISION: tl.constexpr):
    """(B, N, C) -> (B, N, 3C), and sums of each program's windows.

    ``parts`` (groups, heads, PLACES, PLACES) are those of ds, ``empty_parts``
    (groups, 3C) those of de, both optional.
    """
    head = tl.program_id(0)
    group = tl.program_id(1)
    bias = _bias(table, head, heads, SIDE, PLACES)
    dims = heads * DIMS
    p = tl.arange(0, PLACES)
    if parts is not None:
        bias_sum = tl.zeros([PLACES, PLACES], tl.float32)
    if empty_parts is not None:
        k_sum = tl.zeros([WIDTH], tl.float32)
        v_sum = tl.zeros([WIDTH], tl.float32)
    windows = B * ((H + SIDE - 1) // SIDE) * ((W + SIDE - 1) // SIDE)
    for number in range(group, windows, groups):
        image, token, there, far = _window(number, H, W, shift, SIDE, PLACES)
        first = image * H * W * dims
        q, k, v = _rows(qkv + 3 * first, empty, head, heads, token, there,
                        DIMS, WIDTH, SIDE, PLACES)
        g = _load(grad + first + head * DIMS, token, dims, there, DIMS, WIDTH)
        e, total = _exponents(q, k, scale, bias, far, PRECISION)
        a = e * (1 / total)[:, None]
        base = qkv_grad + 3 * first + head * DIMS
        low = a.to(q.dtype)
        dv = tl.dot(tl.trans(low), g, input_precision=PRECISION)
        _store(base + 2 * dims, token, 3 * dims, there, dv, DIMS, WIDTH)
        da = tl.dot(g, tl.trans(v), input_precision=PRECISION)
        ds = a * (da - tl.sum(a * da, 1)[:, None])
        if parts is not None:
            bias_sum += ds
        low = ds.to(q.dtype)
        dq = tl.dot(low, k, input_precision=PRECISION) * scale
        _store(base, token, 3 * dims, there, dq, DIMS, WIDTH)
        dk = tl.dot(tl.trans(low), q, input_precision=PRECISION) * scale
        _store(base + dims, token, 3 * dims, there, dk, DIMS, WIDTH)
        if empty_parts is not None:
            gap = ((p < SIDE * SIDE) & ~there)[:, None]
            k_sum += tl.sum(tl.where(gap, dk, 0.), 0)
            v_sum += tl.sum(tl.where(gap, dv, 0.), 0)
    if parts is not None:
        base = parts + (group * heads + head).to(tl.int64) * PLACES * PLACES
        tl.store(base + p[:, None] * PLACES + p[None, :], bias_sum)
    if empty_parts is not None:
        d = tl.arange(0, WIDTH)
        base = empty_parts + group * 3 * dims + head * DIMS + d
        tl.store(base, tl.zeros([WIDTH], tl.float32), mask=d < DIMS)
        tl.store(base + dims, k_sum, mask=d < DIMS)
        tl.store(base + 2 * dims, v_sum, mask=d < DIMS)


@kernel('heads', 'groups', num_warps=4, num_stages=1)
def table_gradient(parts, table_grad, heads, groups, SIDE: tl.constexpr,
                   PLACES: tl.constexpr, OFFSETS: tl.constexpr):
    """Sum the parts of ds over programs and pairs; grid (heads, blocks).

    An entry of the table belongs to the pairs (i, j) at its offset: for every
    query there is at most one such key.
    """
    head = tl.program_id(0)
    entry = tl.program_id(1) * OFFSETS + tl.arange(0, OFFSETS)
    i = tl.arange(0, PLACES)
    span = 2 * SIDE - 1
    y = (i // SIDE)[None, :] - (entry // span - SIDE + 1)[:, None]
    x = (i % SIDE)[None, :] - (entry % span - SIDE + 1)[:, None]
    pairs = ((i < SIDE * SIDE)[None, :] & (entry < span * span)[:, None] &
             (y >= 0) & (y < SIDE) & (x >= 0) & (x < SIDE))
    place = i[None, :] * PLACES + y * SIDE + x
    total = tl.zeros([OFFSETS, PLACES], tl.float32)
    for group in range(groups):
        base = parts + (group * heads + head).to(tl.int64) * PLACES * PLACES
        total += tl.load(base + place, mask=pairs, other=0.)
    tl.store(table_grad + entry * heads + head, tl.sum(total, 1),
             mask=entry < span * span)
