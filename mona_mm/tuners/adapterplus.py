"""Adapter+ (CVPR 2024, arXiv 2406.06820): adapters behind the MLP alone."""
from typing import Tuple

from mmcv.cnn.bricks import DropPath
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.registry import TUNERS

from .base import Tuner, check_positive_int, check_rate

_STD = .01


class AdapterPlusLayer(nn.Module):
    """``x + scale * drop_path(up(gelu(down(x))))``, scaled by channel.

    Args:
        dims (int): C, the width of the block.
        bottleneck_dims (int): The inner width.
        drop_path_rate (float): How often the adapter of an image is left out
            in training.
    """

    takes_tokens = True

    def __init__(self, dims: int, bottleneck_dims: int,
                 drop_path_rate: float) -> None:
        super().__init__()
        self.down_proj = nn.Linear(dims, bottleneck_dims)
        self.up_proj = nn.Linear(bottleneck_dims, dims)
        self.drop_path = DropPath(drop_path_rate)
        self.scale = nn.Parameter(self.up_proj.weight.new_ones(dims))
        for linear in (self.down_proj, self.up_proj):
            trunc_normal_(
                linear.weight, std=_STD, a=-2 * _STD, b=2 * _STD)
            nn.init.zeros_(linear.bias)

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                tokens: int = 0) -> Tensor:
        """Map (B, T + N, C) to the same; every token is one alike."""
        inner = self.up_proj(F.gelu(self.down_proj(x)))
        return x + self.drop_path(inner) * self.scale


@TUNERS.register_module()
class AdapterPlus(Tuner):
    """An adapter on the residual stream after every MLP, with learnt scales.

    It does not start exactly at the base: the up-projection is small
    (0.01), not zero, as published.

    Args:
        bottleneck_dims (int): The inner width. Defaults to 8.
        drop_path_rate (float): Stochastic depth of the adapters themselves.
            Defaults to 0.1.

    Raises:
        ValueError: If an argument is out of its range.
    """

    display_name = 'Adapter+'
    sites = ('after_ffn', )
    free = ('drop_path_rate', )
    foreign_names = {
        'adapter': 'after_ffn',
        'bottleneck.1': 'down_proj',
        'bottleneck.4': 'up_proj',
        'scaling': 'scale',
    }

    def __init__(self,
                 bottleneck_dims: int = 8,
                 drop_path_rate: float = 0.1) -> None:
        check_positive_int('AdapterPlus', 'bottleneck_dims', bottleneck_dims)
        check_rate('AdapterPlus', 'drop_path_rate', drop_path_rate)
        self.bottleneck_dims = bottleneck_dims
        self.drop_path_rate = drop_path_rate

    def build(self, site: str, dims: int) -> AdapterPlusLayer:
        """Make one :class:`AdapterPlusLayer` of width ``dims``."""
        return AdapterPlusLayer(dims, self.bottleneck_dims,
                                self.drop_path_rate)
