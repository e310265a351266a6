"""The ConvNeXt block with the sites that it has."""
from typing import Tuple

from mmengine.model import BaseModule
from mmpretrain.models.backbones.convnext import ConvNeXtBlock
from torch import Tensor, nn

from mona_mm.ops.frozen import CastOnce, Forgetful
from mona_mm.tuners import Tuner

from ..sites import TunedBlock


class TunedConvNeXtBlock(TunedBlock, Forgetful, BaseModule):
    """A ConvNeXt block rebuilt from its own children, with sites.

    Its one branch is an MLP at every place of the map, behind a depth-wise
    convolution and a norm, so its sites are those of ``ffn``::

        x -+- depthwise - norm -[ffn_in]- fc1, GELU, fc2, gamma -[ffn_out]-
           +-----------------------------[beside_ffn]---------------------

        - drop_path -(+)-[after_ffn]- y

    GRN (V2) stands before fc2. ``beside_ffn`` sees x, or with
    ``takes_normed`` what the norm gives.

    Args:
        block (ConvNeXtBlock): The plain block; it must not be used
            afterwards.
        tuner (Tuner): What to insert.
    """

    branches = dict(ffn=('depthwise_conv', 'norm', 'pointwise_conv1', 'grn',
                         'pointwise_conv2'))
    linears = dict(fc1='pointwise_conv1', fc2='pointwise_conv2')

    def __init__(self, block: ConvNeXtBlock, tuner: Tuner) -> None:
        super().__init__()
        self.with_cp = block.with_cp
        self.linear_pw_conv = block.linear_pw_conv
        for name in ('depthwise_conv', 'norm', 'pointwise_conv1', 'act',
                     'pointwise_conv2', 'grn', 'gamma'):
            setattr(self, name, getattr(block, name))
        self.drop_path = block.drop_path
        self.casts = CastOnce()
        self.insert(tuner, self.depthwise_conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        hw_shape = tuple(x.shape[2:])
        t = x.permute(0, 2, 3, 1).flatten(1, 2)
        t = self.leave(self.recompute(self._run, t, hw_shape), hw_shape)
        return t.unflatten(1, hw_shape).permute(0, 3, 1, 2)

    def _run(self, t: Tensor, hw_shape: Tuple[int, int]) -> Tensor:

        def look_around(t: Tensor) -> Tensor:
            """Depth-wise convolution and norm, (B, N, C) to (B, N, C)."""
            x = t.unflatten(1, hw_shape).permute(0, 3, 1, 2)
            x = self.depthwise_conv(x).permute(0, 2, 3, 1)
            return self.norm(x, data_format='channel_last').flatten(1, 2)

        return self.half('ffn', t, hw_shape, look_around,
                         lambda t: self._mix(t, hw_shape), self.drop_path)

    def _mix(self, t: Tensor, hw_shape: Tuple[int, int]) -> Tensor:
        """The MLP and its scale, (B, N, C) to (B, N, C)."""
        t = self.act(self._pointwise(self.pointwise_conv1, t))
        if self.grn is not None:
            t = self.grn(t.unflatten(1, hw_shape),
                         data_format='channel_last').flatten(1, 2)
        t = self._pointwise(self.pointwise_conv2, t)
        return t if self.gamma is None else t * self.gamma

    def _pointwise(self, layer: nn.Module, t: Tensor) -> Tensor:
        if self.linear_pw_conv:
            return self.casts.linear(layer, t)
        return layer(t.transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(
            1, 2)
