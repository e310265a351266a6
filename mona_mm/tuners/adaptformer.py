"""AdaptFormer (arXiv 2205.13535), as Mona's published code has it."""
from typing import Tuple

import torch
from torch import Tensor, nn

from mona_mm.registry import TUNERS

from .adapter import Bottleneck
from .base import Tuner, check_positive_int, check_rate


class AdaptFormerLayer(Bottleneck):
    """A scaled bottleneck.

    Args:
        dims (int): C, the width of the block.
        bottleneck_dims (int): n, the inner width.
        drop_rate (float): Dropout before the up-projection.
        scale (float): Factor on the output.
        learnable_scale (bool): Whether the factor trains.
    """

    def __init__(self, dims: int, bottleneck_dims: int, drop_rate: float,
                 scale: float, learnable_scale: bool) -> None:
        super().__init__(dims, bottleneck_dims, drop_rate)
        self.scale = nn.Parameter(
            torch.tensor(float(scale))) if learnable_scale else scale

    def forward(self,
                x: Tensor,
                hw_shape: Tuple[int, int],
                tokens: int = 0) -> Tensor:
        """Map (B, T + N, C) to what is added; nothing else is used."""
        return self.scale * super().forward(x, hw_shape)


@TUNERS.register_module()
class AdaptFormer(Tuner):
    """A bottleneck beside the MLP of every block.

    Its input is the MLP's, before the norm; its output stays outside
    drop-path; the up-projection does not start at zero: as
    published.

    Args:
        bottleneck_dims (int): n, the inner width. Defaults to 64.
        scale (float): Factor on the output. Defaults to 0.1.
        learnable_scale (bool): Whether the factor trains; it does not in the
            published code. Defaults to False.
        drop_rate (float): Dropout rate. Defaults to 0.1.

    Raises:
        ValueError: If an argument is out of its range.
    """

    colour = '#cc79a7'

    sites = ('beside_ffn', )
    foreign_names = {
        'my_module_1': 'beside_ffn',
        'project1': 'down_proj',
        'project2': 'up_proj',
    }

    def __init__(self,
                 bottleneck_dims: int = 64,
                 scale: float = 0.1,
                 learnable_scale: bool = False,
                 drop_rate: float = 0.1) -> None:
        check_positive_int('AdaptFormer', 'bottleneck_dims', bottleneck_dims)
        check_rate('AdaptFormer', 'drop_rate', drop_rate)
        self.bottleneck_dims = bottleneck_dims
        self.scale = scale
        self.learnable_scale = learnable_scale
        self.drop_rate = drop_rate

    def build(self, site: str, dims: int) -> AdaptFormerLayer:
        """Make one :class:`AdaptFormerLayer` of width ``dims``."""
        return AdaptFormerLayer(dims, self.bottleneck_dims, self.drop_rate,
                                self.scale, self.learnable_scale)
