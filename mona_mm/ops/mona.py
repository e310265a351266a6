"""The Mona layer with combined kernels, keeping only what is narrow.

Line by line, the layer keeps three tensors of full width and more than eight
of the bottleneck's. This form keeps its input (B, N, C), two tensors of the
bottleneck's width n and the dropout mask; what lies between them is cheap to
compute again:

- normed input: two elementwise steps, see :mod:`.scaled_norm`;
- filters, their mean and skips: one kernel and one matrix, see
  :mod:`.filters`;
- output: y is built again for the norm that follows the layer, which belongs
  to the function.

With the steps of those modules, m what dropout multiplies by, and U and u the
up-projection::

    low = down(x)    mixed = filters(low)    z = mixed P^T + p
    act = m gelu(z)  y = x + act U^T + u     t = norm(y)

and backward, with gy and gt the gradients of y and t, sums over tokens, y^ =
(y - mean) rstd, w the weight of the norm, and <.> the mean over channels::

    dy = gy + rstd (gt w - <gt w> - y^ <gt w y^>)
    dU = dy^T act    du = sum dy             g = m gelu'(z) (dy U)
    dP = g^T mixed   dp = sum g              dmixed = g P
    dlow = filters'(dmixed)                  dx = dy + down'(dlow)
"""
from typing import NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .filters import (
    CombinedFilters,
    combine_filters,
    depthwise,
    depthwise_backward,
)
from .precision import no_autocast
from .scaled_norm import DownParams, down, down_backward


class MonaSpec(NamedTuple):
    """What is constant in one call.

    Attributes:
        hw_shape (tuple[int, int]): (H, W).
        drop_rate (float): Dropout rate; 0 in evaluation.
        eps (float): Of the layer's own norm.
        dtype (torch.dtype): Of the matrix products.
        next_eps (float): Of the norm that follows.
    """
    hw_shape: Tuple[int, int]
    drop_rate: float
    eps: float
    dtype: torch.dtype
    next_eps: float = 0.


class MonaParams(NamedTuple):
    """Parameters of a layer, in the order in which autograd sees them."""
    down: DownParams
    up_weight: Tensor
    up_bias: Tensor
    point_weight: Tensor
    point_bias: Tensor
    filters: Tuple[Tensor, ...]

    @classmethod
    def of(cls, flat: Sequence[Optional[Tensor]]) -> 'MonaParams':
        """From a flat sequence."""
        return cls(DownParams(*flat[:6]), *flat[6:10], tuple(flat[10:]))

    def flat(self) -> Tuple[Optional[Tensor], ...]:
        """As a flat sequence: weight and bias of each filter in turn."""
        return (*self.down, self.up_weight, self.up_bias, self.point_weight,
                self.point_bias, *self.filters)

    @property
    def structure(self) -> Tuple[int, ...]:
        """n, and the sizes of the filters."""
        return (self.point_bias.numel(),
                *(k.shape[-1] for k in self.filters[::2]))

    def combined(self) -> CombinedFilters:
        """The filters, combined."""
        return combine_filters(self.filters[::2], self.filters[1::2],
                               self.point_weight, self.point_bias)


def mona(x: Tensor,
         spec: MonaSpec,
         params: MonaParams,
         next_norm: Optional[Tuple[Tensor, Tensor]] = None):
    """Run one Mona layer and, if given, the frozen norm that follows it.

    Args:
        x (Tensor): (B, N, C) with N = H * W.
        spec (MonaSpec): The constants.
        params (MonaParams): The parameters.
        next_norm (tuple[Tensor, Tensor], optional): Weight and bias, (C, )
            each, of a layer norm that does not train.

    Returns:
        tuple: y (B, N, C), and norm(y) or None.
    """
    return _Mona.apply(x, spec, *(next_norm or (None, None)), *params.flat())


class _Mona(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x, spec, next_w, next_b, *flat):
        ctx.set_materialize_grads(False)
        params = MonaParams.of(flat)
        with no_autocast(x.device):
            tokens = x.reshape(-1, x.shape[-1])
            combined = params.combined().to(spec.dtype)
            low, mean, rstd = down(tokens, params.down, spec.eps, spec.dtype)
            mixed = depthwise(low, combined, x.shape[0], spec.hw_shape)
            act = F.gelu(F.linear(mixed, combined.point, combined.point_bias))
            mask = torch.empty_like(act, dtype=torch.bool).bernoulli_(
                1 - spec.drop_rate) if spec.drop_rate else None
            y = _up(tokens, _drop_(act, mask, spec.drop_rate), params)
            t = next_mean = next_rstd = None
            if next_w is not None:
                t, next_mean, next_rstd = torch.native_layer_norm(
                    y.to(next_w.dtype), y.shape[-1:], next_w, next_b,
                    spec.next_eps)
                t = t.view_as(x)
        ctx.spec = spec
        ctx.save_for_backward(x, low, mixed, mask, mean, rstd, next_mean,
                              next_rstd, next_w, next_b, combined.kernel,
                              combined.point, *flat)
        return y.view_as(x), t

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y, grad_t):
        if grad_y is None and grad_t is None:
            return (None, ) * len(ctx.needs_input_grad)
        (x, low, mixed, mask, mean, rstd, *rest) = ctx.saved_tensors
        norm, kernel, point, flat = rest[:4], *rest[4:6], rest[6:]
        params, spec = MonaParams.of(flat), ctx.spec
        with no_autocast(x.device):
            tokens = x.reshape(-1, x.shape[-1])
            inner = F.linear(mixed, point, params.point_bias.to(spec.dtype))
            act = _drop_(F.gelu(inner), mask, spec.drop_rate)
            grad = _through_norm(grad_y, grad_t, tokens, act, params, norm)
            narrow = grad.to(spec.dtype)
            up = [narrow.t() @ act, narrow.sum(0)]
            g = narrow @ params.up_weight.to(spec.dtype)
            g = torch.ops.aten.gelu_backward(
                _drop_(g, mask, spec.drop_rate), inner)
            mixing = [(g.t() @ mixed).view_as(params.point_weight), g.sum(0)]
            g, filters = depthwise_backward(
                g @ point, low, kernel, x.shape[0], spec.hw_shape,
                [k.shape[-1] for k in params.filters[::2]])
            x_grad, downs = down_backward(grad, g, tokens, mean, rstd,
                                          params.down, spec.eps)
        grads = (None if p is None else g.to(p.dtype)
                 for g, p in zip(downs + up + mixing + filters, flat))
        return (x_grad.view_as(x), None, None, None, *grads)


def _through_norm(grad_y, grad_t, tokens, act, params, norm) -> Tensor:
    """dL/dy (T, C) from both outputs; y is built again for the norm."""
    if grad_t is None:
        return grad_y.reshape(tokens.shape)
    mean, rstd, weight, bias = norm
    y = _up(tokens, act, params).to(grad_t.dtype)
    grad = torch.ops.aten.native_layer_norm_backward(
        grad_t.reshape(tokens.shape), y, y.shape[-1:], mean, rstd, weight,
        bias, [True, False, False])[0]
    return grad if grad_y is None else grad.add_(grad_y.view_as(grad))


def _up(tokens: Tensor, act: Tensor, params: MonaParams) -> Tensor:
    """x + a U^T + u: (T, C), (T, n) -> (T, C)."""
    weight, bias = (t.to(act.dtype) for t in (params.up_weight,
                                              params.up_bias))
    if act.dtype == tokens.dtype:
        return torch.add(tokens, bias).addmm_(act, weight.t())
    return tokens + F.linear(act, weight, bias)


def _drop_(act: Tensor, mask: Optional[Tensor], rate: float) -> Tensor:
    """Dropout in place, with a mask drawn before."""
    return act if mask is None else act.mul_(mask).mul_(1 / (1 - rate))
