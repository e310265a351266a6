"""LoRand (CVPR 2023), as VisionXLab's STAR-MMRotate has it.

Its numbers of parameters in the paper fit two branches.
"""
from typing import Tuple, Union

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int


class FactoredLinear(nn.Module):
    """A linear layer whose weight is a sum of products of three factors.

    ``weight = sum_b A_b G_b B_b`` with A (in, r), G (r, r), B (r, out).

    Args:
        in_dims (int): Input width.
        out_dims (int): Output width.
        branches (int): Number of products.
        kernel_dims (int): r, the rank of each product.
    """

    def __init__(self, in_dims: int, out_dims: int, branches: int,
                 kernel_dims: int) -> None:
        super().__init__()
        shape = (branches, kernel_dims)
        self.left = nn.Parameter(torch.empty(branches, in_dims, kernel_dims))
        self.kernel = nn.Parameter(torch.empty(*shape, kernel_dims))
        self.right = nn.Parameter(torch.empty(*shape, out_dims))
        self.bias = nn.Parameter(torch.zeros(out_dims))
        for factors in (self.left, self.kernel, self.right):
            for factor in factors:
                nn.init.xavier_normal_(factor)  # assumed: not published

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, N, in) to (B, N, out)."""
        weight = (self.left @ self.kernel @ self.right).sum(0)
        return F.linear(x, weight.T, self.bias)


class LoRandLayer(nn.Module):
    """``x + up(gelu(down(x)))`` with factored weights.

    Args:
        dims (int): C, the width of the block.
        bottleneck_dims (int): The inner width.
        branches (int): Products per weight.
        kernel_dims (int): Rank of each product.
    """

    takes_tokens = True

    def __init__(self, dims: int, bottleneck_dims: int, branches: int,
                 kernel_dims: int) -> None:
        super().__init__()
        self.down_proj = FactoredLinear(dims, bottleneck_dims, branches,
                                        kernel_dims)
        self.up_proj = FactoredLinear(bottleneck_dims, dims, branches,
                                      kernel_dims)

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                tokens: int = 0) -> Tensor:
        """Map (B, T + N, C) to (B, T + N, C); nothing else is used."""
        return x + self.up_proj(F.gelu(self.down_proj(x)))


@TUNERS.register_module()
class LoRand(Tuner):
    """Low-rank adapters on the outputs of attention and MLP.

    They stand before drop-path, like Mona's published adapters
    (STAR-MMRotate puts them after it).

    Args:
        branches (int): Products per weight. Defaults to 2, which fits the
            paper's counts; STAR-MMRotate uses 4.
        kernel_dims (int): Rank of each product. Defaults to 8.
        bottleneck_dims (int | float): The inner width, as a number (64 fits
            the paper's count of its largest backbone) or a share of the
            block's width (0.5 fits the next smaller one's). Defaults to 0.5.

    Raises:
        ValueError: If an argument is out of its range.
    """

    colour = '#332288'

    sites = ('attn_out', 'ffn_out')

    def __init__(self,
                 branches: int = 2,
                 kernel_dims: int = 8,
                 bottleneck_dims: Union[int, float] = 0.5) -> None:
        check_positive_int('LoRand', 'branches', branches)
        check_positive_int('LoRand', 'kernel_dims', kernel_dims)
        if not isinstance(bottleneck_dims, float):
            check_positive_int('LoRand', 'bottleneck_dims', bottleneck_dims)
        elif not 0 < bottleneck_dims <= 1:
            raise ValueError('LoRand: bottleneck_dims as a share must be in '
                             f'(0, 1], but got {bottleneck_dims!r}')
        self.branches = branches
        self.kernel_dims = kernel_dims
        self.bottleneck_dims = bottleneck_dims

    def build(self, site: str, dims: int) -> LoRandLayer:
        """Make one :class:`LoRandLayer` of width ``dims``."""
        width = self.bottleneck_dims
        if isinstance(width, float):
            width = max(1, round(width * dims))
        return LoRandLayer(dims, width, self.branches, self.kernel_dims)
