"""A pyramid from the one map of a plain ViT."""
from typing import Sequence, Tuple

from mmengine.model import BaseModule
from mmpretrain.models.utils import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F


class SimpleFeaturePyramid(BaseModule):
    """The simple feature pyramid of ViTDet (arXiv 2203.16527, section 3).

    Every level is made of the last map alone: enlarged by transposed
    convolutions (which halve the channels each time), kept, or halved by
    max-pooling, then brought to ``out_channels`` by a 1 x 1 and a 3 x 3
    convolution, each with a layer norm over the channels. Further levels
    subsample the last one.

    Args:
        in_channels (int): Of the map.
        out_channels (int): Of every level. Defaults to 256.
        scales (Sequence[float]): How many times as large as the map each
            level is, out of 4, 2, 1 and 0.5. Defaults to (4, 2, 1, 0.5).
        num_outs (int): Number of levels. Defaults to 5.

    Raises:
        ValueError: If a scale is another one, or there are fewer levels than
            scales.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int = 256,
                 scales: Sequence[float] = (4, 2, 1, 0.5),
                 num_outs: int = 5,
                 init_cfg=None) -> None:
        super().__init__(init_cfg)
        if set(scales) - {4, 2, 1, 0.5} or num_outs < len(scales):
            raise ValueError(
                'SimpleFeaturePyramid: scales must be out of 4, 2, 1 and 0.5 '
                'and no more than num_outs, but got '
                f'scales={list(scales)}, num_outs={num_outs}')
        self.num_outs = num_outs
        self.levels = nn.ModuleList()
        for scale in scales:
            steps = []
            dims = in_channels
            for i in range({4: 2, 2: 1}.get(scale, 0)):
                if i:
                    steps += [LayerNorm2d(dims, eps=1e-6), nn.GELU()]
                steps.append(nn.ConvTranspose2d(dims, dims // 2, 2, 2))
                dims //= 2
            if scale == 0.5:
                steps.append(nn.MaxPool2d(2, 2))
            self.levels.append(nn.Sequential(
                *steps,
                nn.Conv2d(dims, out_channels, 1, bias=False),
                LayerNorm2d(out_channels, eps=1e-6),
                nn.Conv2d(out_channels, out_channels, 3, padding=1,
                          bias=False),
                LayerNorm2d(out_channels, eps=1e-6)))

    def forward(self, maps: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Make the levels.

        Args:
            maps (Sequence[Tensor]): The last one, (B, C, H, W), is used.

        Returns:
            tuple[Tensor, ...]: One (B, out_channels, H * scale, W * scale)
            per scale, then each half as large as the one before.
        """
        found = [level(maps[-1]) for level in self.levels]
        while len(found) < self.num_outs:
            found.append(F.max_pool2d(found[-1], kernel_size=1, stride=2))
        return tuple(found)
