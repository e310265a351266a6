"""Convpass (arXiv 2207.07039): convolutions that bypass attention and MLP."""
from typing import Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int, check_rate

_KERNELS = ('identity', 'xavier')


class ConvpassLayer(nn.Module):
    """C -> n, QuickGELU, 3x3 convolution, QuickGELU, dropout, n -> C.

    QuickGELU is ``x sigmoid(1.702 x)``. The up-projection starts at zero, so
    the plain block is the start.

    Args:
        dims (int): C, the width of the block.
        bottleneck_dims (int): n, the inner width.
        scale (float): Factor on the output.
        conv_init (str): How the convolution starts, see :class:`Convpass`.
        drop_rate (float): Dropout before the up-projection.
    """

    takes_normed = takes_tokens = in_drop_path = True

    def __init__(self, dims: int, bottleneck_dims: int, scale: float,
                 conv_init: str, drop_rate: float) -> None:
        super().__init__()
        self.scale = scale
        self.down_proj = nn.Linear(dims, bottleneck_dims)
        self.conv = nn.Conv2d(bottleneck_dims, bottleneck_dims, 3, padding=1)
        self.dropout = nn.Dropout(drop_rate)
        self.up_proj = nn.Linear(bottleneck_dims, dims)
        nn.init.xavier_uniform_(self.down_proj.weight)
        if conv_init == 'xavier':
            nn.init.xavier_uniform_(self.conv.weight)
        else:
            nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.up_proj.weight)
        for layer in (self.down_proj, self.conv, self.up_proj):
            nn.init.zeros_(layer.bias)

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                tokens: int = 0) -> Tensor:
        """Compute what is added.

        Args:
            x (Tensor): The branch's normed input, (B, T + N, C), N = H * W.
            hw_shape (tuple[int, int]): (H, W).
            tokens (int): T, how many of them are no patches. Each is a map
                of one pixel to the convolution.

        Returns:
            Tensor: (B, T + N, C).
        """
        low = _quick_gelu(self.down_proj(x))
        extra, patches = low[:, :tokens], low[:, tokens:]
        maps = patches.transpose(1, 2).unflatten(2, hw_shape)
        low = self.conv(maps).flatten(2).transpose(1, 2)
        if tokens:  # of a padded pixel the kernel's centre sees it alone
            centre = self.conv.weight[:, :, 1, 1]
            extra = F.linear(extra, centre, self.conv.bias)
            low = torch.cat([extra.to(low.dtype), low], dim=1)
        low = self.dropout(_quick_gelu(low))
        return self.scale * self.up_proj(low)


@TUNERS.register_module()
class Convpass(Tuner):
    """Bottlenecks with a convolution beside attention and MLP.

    Both take their branch's normed input and go through drop-path with it:
    ``x + drop_path(attn(norm1(x))) + scale * drop_path(layer(norm1(x)))``
    and the same for the MLP.

    Args:
        bottleneck_dims (int): n, the inner width. Defaults to 8.
        scale (float): Factor on the output; the paper searches it for
            every task, from 0.1 to 10. Defaults to 1.
        conv_init (str): ``'identity'``: the convolution starts as none, the
            default of the paper's ViTs; ``'xavier'``: Xavier uniform, which
            its Swins have. Defaults to ``'identity'``.
        drop_rate (float): Dropout rate. Defaults to 0.1.

    Raises:
        ValueError: If an argument is out of its range.
    """

    sites = ('beside_attn', 'beside_ffn')
    free = ('drop_rate', 'conv_init')
    foreign_names = {
        'adapter_attn': 'beside_attn',
        'adapter_mlp': 'beside_ffn',
        'adapter_down': 'down_proj',
        'adapter_conv': 'conv',
        'adapter_up': 'up_proj',
    }

    def __init__(self,
                 bottleneck_dims: int = 8,
                 scale: float = 1.,
                 conv_init: str = 'identity',
                 drop_rate: float = 0.1) -> None:
        check_positive_int('Convpass', 'bottleneck_dims', bottleneck_dims)
        check_rate('Convpass', 'drop_rate', drop_rate)
        if conv_init not in _KERNELS:
            raise ValueError("Convpass: conv_init must be 'identity' or "
                             f"'xavier', but got {conv_init!r}")
        self.bottleneck_dims = bottleneck_dims
        self.scale = scale
        self.conv_init = conv_init
        self.drop_rate = drop_rate

    def build(self, site: str, dims: int) -> ConvpassLayer:
        """Make one :class:`ConvpassLayer` of width ``dims``."""
        return ConvpassLayer(dims, self.bottleneck_dims, self.scale,
                             self.conv_init, self.drop_rate)


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)
