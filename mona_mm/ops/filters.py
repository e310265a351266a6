"""Mona's filters as one depth-wise and one point-wise step.

``z + mean_i(F_i * z + b_i)`` and ``z + P z + p`` are, with the unit impulse 1
and the identity I::

    F = mean_i(pad(F_i)) + 1    b = mean_i(b_i)    F * z + b, (P + I) z + p

and backward, each of the n filters takes its part of the gradient dF of the
one kernel: ``dF_i = centre(dF) / n`` and ``db_i = db / n``.
"""
from contextlib import contextmanager
from typing import Iterator, List, NamedTuple, Sequence, Tuple

import torch
from torch import Tensor
from torch.nn import functional as F


class CombinedFilters(NamedTuple):
    """The filters of Mona, skips included.

    Attributes:
        kernel (Tensor): (n, 1, K, K), padded mean plus unit impulse.
        bias (Tensor): (n, ).
        point (Tensor): (n, n), the point-wise matrix plus identity.
        point_bias (Tensor): (n, ).
    """
    kernel: Tensor
    bias: Tensor
    point: Tensor
    point_bias: Tensor

    def to(self, dtype: torch.dtype) -> 'CombinedFilters':
        """The same in another dtype."""
        return CombinedFilters(*(t.to(dtype) for t in self))


def combine_filters(kernels: Sequence[Tensor], biases: Sequence[Tensor],
                    point: Tensor, point_bias: Tensor) -> CombinedFilters:
    """Combine the filters, their mean and the skips (paper, eq. 4 and 5).

    Args:
        kernels (Sequence[Tensor]): (n, 1, k_i, k_i) each, k_i odd.
        biases (Sequence[Tensor]): (n, ) each.
        point (Tensor): (n, n, 1, 1).
        point_bias (Tensor): (n, ).
    """
    n, size = point.shape[0], max(k.shape[-1] for k in kernels)
    kernel = kernels[0].new_zeros(n, 1, size, size)
    for k in kernels:
        centre(kernel, k.shape[-1]).add_(k)
    kernel /= len(kernels)
    kernel[..., size // 2, size // 2] += 1
    identity = torch.eye(n, dtype=point.dtype, device=point.device)
    return CombinedFilters(kernel, torch.stack(tuple(biases)).mean(0),
                           point.view(n, n) + identity, point_bias)


def depthwise(low: Tensor, combined: CombinedFilters, batch: int,
              hw_shape: Tuple[int, int]) -> Tensor:
    """Filter tokens as a map: (T, n) -> (T, n)."""
    with no_plans(low):
        out = F.conv2d(
            _as_map(low, batch, hw_shape),
            combined.kernel,
            combined.bias,
            padding=combined.kernel.shape[-1] // 2,
            groups=low.shape[-1])
    return _as_tokens(out)


def depthwise_backward(grad: Tensor, low: Tensor, kernel: Tensor,
                       batch: int, hw_shape: Tuple[int, int],
                       sizes: Sequence[int]) -> Tuple[Tensor, List[Tensor]]:
    """Gradients of :func:`depthwise`.

    Args:
        grad (Tensor): (T, n), of the output.
        low (Tensor): (T, n), the input.
        kernel (Tensor): (n, 1, K, K), the combined kernel.
        batch (int): B.
        hw_shape (tuple[int, int]): (H, W).
        sizes (Sequence[int]): Sizes of the filters that were combined.

    Returns:
        tuple: Of the input (T, n), and a list of every filter's weight and
        bias in turn.
    """
    n, edge = low.shape[-1], kernel.shape[-1] // 2
    with no_plans(low):
        grad, kernel, bias = torch.ops.aten.convolution_backward(
            _as_map(grad, batch, hw_shape), _as_map(low, batch, hw_shape),
            kernel, [n], [1, 1], [edge, edge], [1, 1], False, [0, 0], n,
            [True, True, True])
    kernel, bias = kernel / len(sizes), bias / len(sizes)
    filters = [g for s in sizes for g in (centre(kernel, s), bias)]
    return _as_tokens(grad), filters


@contextmanager
def no_plans(x: Tensor) -> Iterator[None]:
    """Depth-wise convolutions by PyTorch's own kernels on a GPU.

    cuDNN plans anew, for seconds, for every size of an image.
    """
    enabled = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = enabled and not x.is_cuda
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = enabled


def centre(kernel: Tensor, size: int) -> Tensor:
    """The central (size, size) part of a larger kernel, a view."""
    edge = (kernel.shape[-1] - size) // 2
    return kernel[..., edge:edge + size, edge:edge + size]


def _as_map(tokens: Tensor, batch: int, hw_shape) -> Tensor:
    """(T, n) -> (B, n, H, W), channels last, no copy."""
    shape = (batch, *hw_shape, tokens.shape[-1])
    return tokens.view(shape).permute(0, 3, 1, 2)


def _as_tokens(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])
