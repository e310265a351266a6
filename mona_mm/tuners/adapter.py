"""Adapter (arXiv 1902.00751), as Mona's published code has it."""
from typing import Tuple

from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int, check_rate


class Bottleneck(nn.Module):
    """C -> n, GELU, dropout, n -> C.

    Linear layers start at trunc_normal(0.02) with zero bias, as published.

    Args:
        dims (int): C, the width of the block.
        bottleneck_dims (int): n, the inner width.
        drop_rate (float): Dropout before the up-projection.
    """

    takes_tokens = True

    def __init__(self, dims: int, bottleneck_dims: int,
                 drop_rate: float) -> None:
        super().__init__()
        self.down_proj = nn.Linear(dims, bottleneck_dims)
        self.dropout = nn.Dropout(drop_rate)
        self.up_proj = nn.Linear(bottleneck_dims, dims)
        for linear in (self.down_proj, self.up_proj):
            trunc_normal_(linear.weight, std=.02)
            nn.init.zeros_(linear.bias)

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                tokens: int = 0) -> Tensor:
        """Map (B, T + N, C) to (B, T + N, C); nothing else is used."""
        return self.up_proj(self.dropout(F.gelu(self.down_proj(x))))


class AdapterLayer(Bottleneck):
    """A bottleneck with a skip connection."""

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                tokens: int = 0) -> Tensor:
        """Map (B, T + N, C) to (B, T + N, C); nothing else is used."""
        return x + super().forward(x, hw_shape)


@TUNERS.register_module()
class Adapter(Tuner):
    """Adapters on the outputs of attention and MLP.

    They stand inside the branches, before drop-path and the residual
    addition, as in Mona's published code (STAR-MMRotate puts them after
    drop-path).

    Args:
        bottleneck_dims (int): n, the inner width. Defaults to 64.
        drop_rate (float): Dropout rate. Defaults to 0.1.

    Raises:
        ValueError: If an argument is out of its range.
    """

    colour = '#0072b2'

    sites = ('attn_out', 'ffn_out')
    foreign_names = {
        'my_module_1': 'attn_out',
        'my_module_2': 'ffn_out',
        'project1': 'down_proj',
        'project2': 'up_proj',
    }

    def __init__(self,
                 bottleneck_dims: int = 64,
                 drop_rate: float = 0.1) -> None:
        check_positive_int('Adapter', 'bottleneck_dims', bottleneck_dims)
        check_rate('Adapter', 'drop_rate', drop_rate)
        self.bottleneck_dims = bottleneck_dims
        self.drop_rate = drop_rate

    def build(self, site: str, dims: int) -> AdapterLayer:
        """Make one :class:`AdapterLayer` of width ``dims``."""
        return AdapterLayer(dims, self.bottleneck_dims, self.drop_rate)
