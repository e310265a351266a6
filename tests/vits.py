"""Small ViTs that several tests need."""
import torch
from mmpretrain.models import VisionTransformer

from mona_mm.backbones import TunedVisionTransformer

NANO = dict(embed_dims=32, num_layers=4, num_heads=2, feedforward_channels=64)


def nano_vit(tuner='Mona', **kwargs) -> TunedVisionTransformer:
    """A tiny tuned ViT whose random base is accepted."""
    kwargs = {'arch': NANO, 'img_size': 64, 'allow_random_base': True,
              **kwargs}
    if isinstance(tuner, str):
        tuner = dict(type=tuner)
    return TunedVisionTransformer(tuner=tuner, **kwargs)


def plain_vit(**kwargs) -> VisionTransformer:
    """mmpretrain's own ViT of the same size, with maps."""
    return VisionTransformer(**{
        'arch': NANO, 'img_size': 64, 'out_type': 'featmap', **kwargs})


def shake(net, seed=0) -> None:
    """Give every parameter a value of its own: many start at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in net.parameters():
            param.add_(.2 * torch.randn(param.shape, generator=generator))
