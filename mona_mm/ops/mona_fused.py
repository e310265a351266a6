"""The Mona layer by Triton kernels, the residual addition before it included.

``x + scale * branch`` is the layer's input, and a frozen norm that follows is
its second output: two launches forward, five backward
(:mod:`.mona_forward`, :mod:`.mona_backward`, :mod:`.mona_gradients` have the
formulas). What is kept is what :mod:`.mona` keeps, less the mask of dropout,
which is drawn again from its seed. What all layers of a pass need is made
for all at once: :class:`Shared`.

Kernels are imported where they are launched: only where
:func:`.launch.usable` allows is triton there.
"""
from functools import partial
from typing import NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mona_mm.compat import unflatten

from .cache import BoundedCache
from .mona import MonaParams, MonaSpec

#: Widest bottleneck, and largest filter, that the kernels take.
MAX_WIDTH, MAX_SIZE = 64, 15

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

#: Tables of addresses; what they point to cannot be stale.
_TABLES = BoundedCache(max_bytes=2**20)


class Shared(NamedTuple):
    """A layer's part in what all layers of one pass share.

    Attributes:
        params (MonaParams): Of the layer.
        filters (Tensor): (L, K * K + 1 + n', n') of :func:`combine_all`.
        index (int): Of the layer among the L.
        seeds (Tensor, optional): (R, ), of dropout.
        scales (Tensor, optional): (R, B) float32, factors on the branches:
            drop-path.
        row (int): Of the layer among the R.
    """
    params: MonaParams
    filters: Tensor
    index: int = 0
    seeds: Optional[Tensor] = None
    scales: Optional[Tensor] = None
    row: int = 0


def uncovered(x: Tensor, dtype: torch.dtype,
              params: MonaParams) -> Optional[str]:
    """Why the kernels do not take a layer; None if they do.

    Args:
        x (Tensor): (B, N, C), the residual stream.
        dtype (torch.dtype): Of the matrix products.
        params (MonaParams): Of the layer.
    """
    if x.dtype not in _DTYPES or dtype not in _DTYPES:
        return f'they take no {x.dtype} with products in {dtype}'
    n, *sizes = params.structure
    if n > MAX_WIDTH:
        return f'the bottleneck has {n} channels, more than {MAX_WIDTH}'
    if (size := max(sizes)) > MAX_SIZE:
        return f'a filter of size {size} is larger than {MAX_SIZE}'
    device = x.get_device()
    for p in params.flat():
        if p is not None and not (p.dtype == torch.float32 and p.get_device()
                                  == device and p.is_contiguous()):
            return (f'a parameter of shape {tuple(p.shape)} is {p.dtype} on '
                    f'{p.device}, not contiguous float32 on {x.device}')
    return None


def draw_seeds(count: int, device: torch.device) -> Tensor:
    """Seeds of dropout (count, ), from the device's generator."""
    return torch.randint(2**63 - 1, (count, ), device=device)


def combine_all(layers: Sequence[MonaParams]) -> Tensor:
    """Combine the filters of layers of one structure.

    Returns:
        Tensor: (L, K * K + 1 + n', n'), see :mod:`.combined_kernel`; n' is the
        power of two above n.
    """
    from .combined_kernel import combine_layers
    device = layers[0].point_bias.device
    n, *sizes = layers[0].structure
    wide, largest = _padded(n), max(sizes)
    addresses = tuple(t.data_ptr() for layer in layers
                      for t in (*layer.filters, layer.point_weight))
    table = _TABLES.get((device, addresses), lambda: torch.tensor(
        addresses, device=device).view(len(layers), -1))
    out = torch.empty(
        len(layers), largest**2 + 1 + wide, wide, device=device)
    combine_layers((len(layers), largest + 1), (table, out),
                   (n, wide, tuple(sizes), largest, _power(largest)))
    return out


def mona_fused(x: Tensor,
               branch: Optional[Tensor],
               spec: MonaSpec,
               shared: Shared,
               next_norm: Optional[Tuple[Tensor, Tensor]] = None):
    """Run one Mona layer on ``x + scale * branch``.

    Args:
        x (Tensor): (B, N, C) with N = H * W.
        branch (Tensor, optional): (B, N, C), to be added.
        spec (MonaSpec): The constants.
        shared (Shared): The parameters, and what was made of them; its
            scales apply to the branch.
        next_norm (tuple[Tensor, Tensor], optional): Weight and bias, (C, )
            each, of a layer norm that does not train.

    Returns:
        tuple: y (B, N, C), and norm(y) in the products' dtype, or None.
    """
    args = (x, branch, spec, shared, *(next_norm or (None, None)),
            *shared.params.flat())
    if torch.is_grad_enabled():
        return _FusedMona.apply(*args)
    return _forward(*args[:6], shared.params, False)[:2]


def _forward(x, branch, spec, shared, next_w, next_b, params, keep):
    """(y, t, stream, low, mixed, statistics of both norms)."""
    from .mona_forward import mona_down, mona_up
    x = x.contiguous()
    batch, area, width = x.shape
    n, *sizes = params.structure
    wide, largest, tokens = _padded(n), max(sizes), batch * area
    unit, dot = _unit(width), _dot(spec.dtype)
    narrow = dict(dtype=spec.dtype, device=x.device)
    scales, stream = None, x
    if branch is not None:
        branch, stream = branch.contiguous(), torch.empty_like(x)
        scales = shared.scales
    norm = params.down
    stats = next_stats = mixed = t = None
    if keep:
        mixed = torch.empty(tokens, n, **narrow)
        if norm.gamma is not None:
            stats = torch.empty(tokens, 2, device=x.device)
        if next_w is not None:
            next_stats = torch.empty(tokens, 2, device=x.device)
    low = torch.empty(tokens, n, **narrow)
    rows, chunk = _block(width, spec.dtype)
    mona_down(
        (-(-tokens // rows), ),
        (x, branch, scales, *norm, stream, low, stats, tokens, area,
         shared.row * batch, width // unit, spec.eps),
        (n, wide, unit, rows, chunk, dot))
    y = torch.empty_like(x)
    if next_w is not None:
        t = torch.empty(x.shape, **narrow)
    mona_up(
        (_tiles(batch, spec.hw_shape, rows), ),
        (stream, low, shared.filters, params.point_bias, params.up_weight,
         params.up_bias, shared.seeds if spec.drop_rate else None, next_w,
         next_b, y, t, mixed, next_stats, *spec.hw_shape,
         shared.index * shared.filters[0].numel(), shared.row,
         width // unit, float(spec.drop_rate), spec.next_eps),
        (n, wide, largest, unit, 4, rows // 4, chunk, dot))
    return y, t, stream, low, mixed, stats, next_stats


class _FusedMona(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x, branch, spec, shared, next_w, next_b, *flat):
        ctx.set_materialize_grads(False)
        params = MonaParams.of(flat)
        y, t, *kept = _forward(x, branch, spec, shared, next_w, next_b,
                               params, True)
        ctx.spec, ctx.index, ctx.row = spec, shared.index, shared.row
        ctx.branch = None if branch is None else branch.dtype
        ctx.save_for_backward(*kept, next_w, shared.filters, shared.seeds,
                              shared.scales, *flat)
        return y, t

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y, grad_t):
        if grad_y is None and grad_t is None:
            return (None, ) * len(ctx.needs_input_grad)
        (stream, low, mixed, stats, next_stats, next_w, filters, seeds,
         scales, *flat) = ctx.saved_tensors
        from .mona_backward import mona_down_backward, mona_up_backward
        from .mona_gradients import mona_collect, mona_filters, mona_products
        params, spec, row = MonaParams.of(flat), ctx.spec, ctx.row
        batch, area, width = stream.shape
        n, *sizes = params.structure
        largest, tokens = max(sizes), batch * area
        wide, unit, dot = _padded(n), _unit(width), _dot(spec.dtype)
        filters_at = ctx.index * filters[0].numel()
        floats = partial(torch.empty, device=stream.device)
        act, g, gm, g1 = low.new_empty(4, tokens, n).unbind()
        if grad_y is not None:
            grad_y = grad_y.contiguous()
        dy = grad_y
        if grad_t is not None:
            grad_t, dy = grad_t.contiguous(), torch.empty_like(stream)
        rows, chunk = _block(width, spec.dtype)
        mona_up_backward(
            (-(-tokens // rows), ),
            (stream, grad_y, grad_t, mixed, filters, params.point_bias,
             params.up_weight, params.up_bias,
             seeds if spec.drop_rate else None, next_w, next_stats, dy, act,
             g, gm, tokens, filters_at, row, width // unit,
             float(spec.drop_rate)),
            (n, wide, largest, unit, rows, chunk, dot))
        dx = db = None
        if any(ctx.needs_input_grad[:2]):
            dx = torch.empty_like(stream)
            if ctx.needs_input_grad[1]:
                db = torch.empty_like(stream, dtype=ctx.branch)
        norm = params.down
        mona_down_backward(
            (_tiles(batch, spec.hw_shape, rows), ),
            (dy, gm, stream, filters, norm.norm_weight, norm.gamma,
             norm.gammax, norm.weight, stats, scales, g1, dx, db,
             *spec.hw_shape, filters_at, row * batch, width // unit),
            (n, wide, largest, unit, 4, rows // 4, chunk, dot))
        columns, rows = (32 if spec.dtype == torch.float32 else 64), 32
        blocks = -(-width // columns)
        span, count = _spans(tokens, rows, 264 // (blocks + 1))
        parts = floats(count, (3 * wide + 1) * width + wide * (wide + 3))
        mona_products(
            (blocks + 1, count),
            (stream, dy, act, g, gm, g1, mixed, stats, parts, tokens, span,
             width // unit),
            (n, wide, unit, rows, columns, dot))
        taps, rows = _power(largest), 16
        span, filter_count = _spans(tokens, rows, 528 // largest)
        filter_parts = floats(filter_count, largest, taps, wide)
        mona_filters(
            (largest, filter_count),
            (gm, low, filter_parts, tokens, span, *spec.hw_shape),
            (n, wide, largest, taps, rows))
        present = [p for p in flat if p is not None]
        out = floats(sum(p.numel() for p in present))
        mona_collect(
            (-(-width // 16) + 1 + largest, ),
            (parts, filter_parts, *norm[:5], out, count, filter_count,
             width // unit),
            (n, wide, tuple(sizes), largest, taps, unit, 16, 4))
        grads = iter(unflatten(out, present))
        return (dx if ctx.needs_input_grad[0] else None, db,
                *(None, ) * 4,
                *(None if p is None else next(grads) for p in flat))


def _power(number: int) -> int:
    """The power of two at or above a number."""
    return 1 << (number - 1).bit_length()


def _padded(n: int) -> int:
    """Products need 16 columns at least."""
    return max(16, _power(n))


def _unit(width: int) -> int:
    """The power of two, up to 16, that divides a width."""
    return min(16, width & -width)


def _block(width: int, dtype: torch.dtype) -> Tuple[int, int]:
    """Tokens of a program and channels of a chunk, as registers allow.

    Wide maps are small: few tokens make more programs, and wide chunks fewer
    turns of their loops.
    """
    if dtype == torch.float32:
        return 16, 32
    return (16, 64) if width >= 512 else (32, 32)


def _tiles(batch: int, hw_shape: Tuple[int, int], rows: int) -> int:
    """Programs for tiles of 4 x rows / 4 tokens."""
    return batch * -(-hw_shape[0] // 4) * -(-hw_shape[1] // (rows // 4))


def _spans(tokens: int, rows: int, parts: int) -> Tuple[int, int]:
    """Tokens of a part, whole tiles, and how many parts there are."""
    span = -(-tokens // (rows * max(parts, 1))) * rows
    return span, -(-tokens // span)


def _dot(dtype: torch.dtype) -> str:
    """How float32 products are made; tf32x3 is as exact as float32."""
    if dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32:
        return 'tf32x3'
    return 'tf32'
