"""DoRA (ICML 2024, arXiv 2402.09353): magnitude and direction apart."""
import math
from typing import Dict, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mona_mm.ops import runs_line_by_line
from mona_mm.ops.fold import Foldable
from mona_mm.ops.frozen import mixed_linear
from mona_mm.ops.precision import compute_dtype, no_autocast
from mona_mm.registry import TUNERS

from .base import LINEARS, Tuner, check_positive_int

_THIRDS = ('q', 'k', 'v')
_TARGETS = (*_THIRDS, *LINEARS[1:])


class DoRALinear(Foldable, nn.Linear):
    """A linear layer (C -> D) with new directions for parts of its rows.

    For every target part t of the rows of the weight::

        V_t = W_t + (alpha / rank) B_t A_t
        W'_t = m_t V_t / |V_t|        by row; |V_t| is a constant backward

    A starts at Kaiming uniform (sqrt 5), B at zero and m at ``|W_t|``, so
    that W' starts as W. ``weight`` and ``bias`` keep their names and are
    never written to.

    Args:
        linear (nn.Linear): The pretrained layer; its tensors are taken over.
        rank (int): Rank of each update.
        alpha (float): The updates are scaled by ``alpha / rank``.
        parts (Sequence[int]): Which of the equal parts of the rows.
        count (int): How many parts the rows have.

    Attributes:
        line_by_line (bool): Run :meth:`formula` instead of the form that
            keeps the layer's input alone.
    """

    line_by_line = False
    bias_of_zeros = True

    def __init__(self, linear: nn.Linear, rank: int, alpha: float,
                 parts: Sequence[int], count: int) -> None:
        super().__init__(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            device='meta')
        self.weight, self.bias = linear.weight, linear.bias
        self.scale, self.parts, self.count = alpha / rank, tuple(parts), count
        device = linear.weight.device
        rows = len(parts) * linear.out_features // count
        self.lora_A = nn.Parameter(
            torch.empty(len(parts) * rank, linear.in_features, device=device))
        self.lora_B = nn.Parameter(torch.zeros(rows, rank, device=device))
        self.magnitude = nn.Parameter(torch.empty(rows, device=device))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.reset_magnitude()

    def reset_magnitude(self) -> None:
        """Take the lengths of the pretrained rows, once these are there."""
        with torch.no_grad():
            self.magnitude.copy_(self.neutral()['magnitude'])

    def neutral(self) -> Dict[str, Tensor]:
        """The lengths of the pretrained rows; with B at zero, W' is W."""
        rows = _chosen(self.weight, self.parts, self.count)
        return dict(magnitude=_length(rows.to(self.magnitude)).flatten())

    def adapted(self) -> Tensor:
        """The weight W' (D, C)."""
        with no_autocast(self.weight.device):
            v = _directions(self.weight, self.lora_A, self.lora_B, self.scale,
                            self.parts, self.count)
            gain = self.magnitude / _length(v.detach()).flatten()
            return _joined(self.weight, v, gain, self.parts, self.count)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., D)."""
        if self.folded is not None:
            return mixed_linear(x, self.folded, self.bias)
        base = (self.weight, self.bias)
        if runs_line_by_line(self) or any(
                t is not None and t.requires_grad for t in base):
            return self.formula(x)
        return _DoRALinear.apply(x, *base, self.lora_A, self.lora_B,
                                 self.magnitude, self.scale, self.parts,
                                 self.count, compute_dtype(x))

    def formula(self, x: Tensor) -> Tensor:
        """The layer line by line: the specification."""
        return mixed_linear(x, self.adapted(), self.bias)

    def make_folded(self) -> Tensor:
        """The weight W'."""
        return self.adapted()

    def merged(self) -> Dict[str, Tensor]:
        """The weight of a plain layer that computes the same."""
        return dict(weight=self.adapted())


class _DoRALinear(torch.autograd.Function):
    """``y = x W'^T + b`` with W and b frozen; W' is made again backward.

    With g = m / |V|, for every target part::

        dx = dy W'       dW' = dy^T x       dm = sum_C (dW' * V) / |V|
        dV = g dW'       dB = (alpha / rank) dV A^T
                         dA = (alpha / rank) B^T dV
    """

    @staticmethod
    def forward(ctx, x, weight, bias, down, up, magnitude, scale, parts,
                count, dtype):
        ctx.update, ctx.dtype = (scale, parts, count), dtype
        ctx.in_dtype, x = x.dtype, x.to(dtype)
        ctx.save_for_backward(x, weight, down, up, magnitude)
        with no_autocast(x.device):
            v = _directions(weight, down, up, *ctx.update)
            gain = magnitude / _length(v).flatten()
            adapted = _joined(weight, v, gain, parts, count)
            return F.linear(x, adapted.to(dtype),
                            None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, down, up, magnitude = ctx.saved_tensors
        scale, parts, count = ctx.update
        x_grad = None
        with no_autocast(x.device):
            tokens = x.reshape(-1, x.shape[-1])
            grad = grad.reshape(-1, grad.shape[-1]).to(ctx.dtype)
            v = _directions(weight, down, up, *ctx.update)
            length = _length(v)
            gain = magnitude / length.flatten()
            if ctx.needs_input_grad[0]:
                adapted = _joined(weight, v, gain, parts, count)
                x_grad = grad @ adapted.to(ctx.dtype)
                x_grad = x_grad.to(ctx.in_dtype).view_as(x)
            grads = grad.chunk(count, 1)
            w_grad = torch.stack([grads[i].t() @ tokens for i in parts])
            w_grad = w_grad.to(v.dtype)  # of the target rows
            magnitude_grad = ((w_grad * v).sum(2) / length).flatten()
            v_grad = w_grad.mul_(scale * gain.view(*length.shape, 1))
            down, up = _by_part(down, parts), _by_part(up, parts)
            up_grad = (v_grad @ down.transpose(1, 2)).flatten(0, 1)
            down_grad = (up.transpose(1, 2) @ v_grad).flatten(0, 1)
        return (x_grad, None, None, down_grad, up_grad, magnitude_grad,
                *(None, ) * 4)


@TUNERS.register_module()
class DoRA(Tuner):
    """Low-rank updates of directions, and one learnt magnitude per row.

    Layers, rank and alpha are LoRA's, so that the two compare. It starts
    exactly at the base.

    Args:
        rank (int): Rank of each update. Defaults to 64.
        alpha (float): The updates are scaled by ``alpha / rank``. Defaults
            to 1.
        targets (Sequence[str]): Of ``'q'``, ``'k'``, ``'v'``, ``'proj'``,
            ``'fc1'``, ``'fc2'``. Defaults to ('q', 'v').

    Raises:
        ValueError: If an argument is out of its range.
    """

    sites = ('qkv', )

    def __init__(self,
                 rank: int = 64,
                 alpha: float = 1,
                 targets: Sequence[str] = ('q', 'v')) -> None:
        check_positive_int('DoRA', 'rank', rank)
        if not targets or set(targets) - set(_TARGETS):
            raise ValueError('DoRA: targets must name some of '
                             f'{", ".join(_TARGETS)}, but got {targets!r}')
        self.rank, self.alpha = rank, alpha
        self.targets = tuple(targets)
        self.parts = tuple(
            i for i, third in enumerate(_THIRDS) if third in targets)
        self.sites = (*('qkv', ) * bool(self.parts),
                      *(s for s in LINEARS if s in targets))

    def adapt(self, site: str, linear: nn.Linear) -> DoRALinear:
        """Wrap a layer, keeping its ``weight`` and ``bias``."""
        parts, count = (self.parts, 3) if site == 'qkv' else ((0, ), 1)
        return DoRALinear(linear, self.rank, self.alpha, parts, count)

    def loaded(self, module: DoRALinear) -> None:
        """Take the magnitudes of the base that has just been loaded."""
        module.reset_magnitude()


def _by_part(stacked: Tensor, parts: Tuple[int, ...]) -> Tensor:
    """(t n, k) as (t, n, k), for t parts."""
    return stacked.view(len(parts), -1, stacked.shape[1])


def _chosen(weight: Tensor, parts: Tuple[int, ...], count: int) -> Tensor:
    """The target rows of a weight (D, C), as (t, D / count, C)."""
    return weight.view(count, -1, weight.shape[1])[list(parts)]


def _directions(weight: Tensor, down: Tensor, up: Tensor, scale: float,
                parts: Tuple[int, ...], count: int) -> Tensor:
    """V (t, D / count, C)."""
    return torch.baddbmm(
        _chosen(weight, parts, count).to(up.dtype),
        _by_part(up, parts),
        _by_part(down, parts),
        alpha=scale)


def _length(v: Tensor) -> Tensor:
    """|V| by row, (t, D / count)."""
    return torch.linalg.vector_norm(v, dim=2)


def _joined(weight: Tensor, v: Tensor, gain: Tensor, parts: Tuple[int, ...],
            count: int) -> Tensor:
    """W' (D, C): the weight with its target rows replaced by gain * V."""
    rows = list(weight.to(v.dtype).chunk(count))
    for i, part, g in zip(parts, v, gain.chunk(len(parts))):
        rows[i] = g[:, None] * part
    return torch.cat(rows)
