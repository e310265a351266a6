"""Linear layers that keep the input of what stands before them.

PyTorch keeps the input of every operation: of ``linear(norm(x))`` both x and
norm(x), of ``linear(gelu(x))`` both x and gelu(x). Here x alone is kept; the
norm and GELU, cheap beside the products, are computed again in the backward
pass. Everything trains.
"""
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .precision import autocasts, compute_dtype, no_autocast


def norm_linear(x: Tensor, norm: nn.LayerNorm, linear: nn.Linear) -> Tensor:
    """``linear(norm(x))``.

    Args:
        x (Tensor): (B, N, C).
        norm (nn.LayerNorm): Over C, with weight and bias.
        linear (nn.Linear): C -> D, with bias.

    Returns:
        Tensor: (B, N, D).
    """
    # Autocast runs norms in float32.
    wide = torch.float32 if autocasts(x) else x.dtype
    return _NormLinear.apply(x, norm.weight, norm.bias, linear.weight,
                             linear.bias, norm.eps, wide, compute_dtype(x))


def gelu_linear(x: Tensor, linear: nn.Linear) -> Tensor:
    """``linear(gelu(x))``.

    Args:
        x (Tensor): (B, N, C).
        linear (nn.Linear): C -> D, with bias.

    Returns:
        Tensor: (B, N, D).
    """
    return _GELULinear.apply(x, linear.weight, linear.bias, compute_dtype(x))


class _NormLinear(torch.autograd.Function):
    # t = norm(x), y = t W^T + b.

    @staticmethod
    def forward(ctx, x, norm_weight, norm_bias, weight, bias, eps, wide,
                dtype):
        ctx.save_for_backward(x, norm_weight, norm_bias, weight)
        ctx.eps, ctx.wide, ctx.dtype = eps, wide, dtype
        with no_autocast(x.device):
            t = F.layer_norm(x.to(wide), x.shape[-1:], norm_weight,
                             norm_bias, eps)
            return F.linear(t.to(dtype), weight.to(dtype), bias.to(dtype))

    # dW = dy^T t, db = sum dy, dt = dy W; from dt on as through any norm.
    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, norm_weight, norm_bias, weight = ctx.saved_tensors
        with no_autocast(x.device):
            size, source = x.shape[-1:], x.to(ctx.wide)
            t, mean, rstd = torch.native_layer_norm(
                source, size, norm_weight, norm_bias, ctx.eps)
            grad = grad.to(ctx.dtype)
            rows = grad.flatten(0, -2)
            weight_grad = rows.t() @ t.to(ctx.dtype).flatten(0, -2)
            t_grad = (grad @ weight.to(ctx.dtype)).to(ctx.wide)
            x_grad, scale_grad, shift_grad = (
                torch.ops.aten.native_layer_norm_backward(
                    t_grad, source, size, mean, rstd, norm_weight, norm_bias,
                    [True] * 3))
            return (x_grad.to(x.dtype), scale_grad, shift_grad,
                    weight_grad.to(weight.dtype),
                    rows.sum(0).to(weight.dtype), None, None, None)


class _GELULinear(torch.autograd.Function):
    # a = gelu(x), y = a W^T + b.

    @staticmethod
    def forward(ctx, x, weight, bias, dtype):
        ctx.save_for_backward(x, weight)
        ctx.dtype = dtype
        with no_autocast(x.device):
            return F.linear(F.gelu(x).to(dtype), weight.to(dtype),
                            bias.to(dtype))

    # dW = dy^T a, db = sum dy, da = dy W, dx = gelu'(x) da.
    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        with no_autocast(x.device):
            grad = grad.to(ctx.dtype)
            rows = grad.flatten(0, -2)
            weight_grad = rows.t() @ F.gelu(x).to(ctx.dtype).flatten(0, -2)
            inner = (grad @ weight.to(ctx.dtype)).to(x.dtype)
            x_grad = torch.ops.aten.gelu_backward(inner, x)
            return (x_grad, weight_grad.to(weight.dtype),
                    rows.sum(0).to(weight.dtype), None)
