"""Every registered backbone family, as small as it gets.

A new family joins with one entry in :data:`TINY`.
"""
from typing import Any, Dict, NamedTuple

import torch
from helpers import NANO
from torch import nn
from vits import NANO as VIT

import mona_mm.backbones as backbones
from mona_mm.backbones import TunedBackbone
from mona_mm.backbones.tuned import lacking
from mona_mm.registry import MODELS


class Tiny(NamedTuple):
    """A family's smallest network.

    Attributes:
        args (dict): Of the tuned class, and of the library's.
        library (dict): What the library's class needs on top, where its
            defaults are others.
        side (int): Of pictures that its maps divide.
    """
    args: Dict[str, Any]
    library: Dict[str, Any] = {}
    side: int = 64


_SWIN = Tiny(dict(arch=NANO, window_size=4),
             dict(out_indices=(0, 1, 2, 3), pad_small_map=True))
_PVT = dict(embed_dims=8, num_layers=[1, 1, 2, 1], num_heads=[1, 2, 4, 8])
TINY = {
    'TunedSwinTransformer': _SWIN,
    'SwinTransformerMona': _SWIN,
    'TunedSwinTransformerV2': Tiny(
        dict(arch=dict(NANO, extra_norm_every_n_blocks=2), window_size=4),
        dict(out_indices=(0, 1, 2, 3), pad_small_map=True)),
    'TunedConvNeXt': Tiny(
        dict(arch=dict(depths=[1, 1, 2, 1], channels=[8, 16, 24, 32]),
             layer_scale_init_value=.5),
        dict(out_indices=[0, 1, 2, 3], gap_before_final_norm=False)),
    'TunedPyramidVisionTransformer': Tiny(dict(_PVT, pretrain_img_size=64)),
    'TunedPyramidVisionTransformerV2': Tiny(_PVT),
    'TunedVisionTransformer': Tiny(
        dict(arch=VIT, img_size=(64, 96)), dict(out_type='featmap')),
}

MODELS.import_from_location()
#: Names of all registered classes that take a tuner.
FAMILIES = sorted(
    name for name, cls in MODELS.module_dict.items()
    if isinstance(cls, type) and issubclass(cls, TunedBackbone))


def tiny(name: str, tuner='Mona', **kwargs) -> TunedBackbone:
    """A family's smallest network whose random base is accepted."""
    if isinstance(tuner, str):
        tuner = dict(type=tuner)
    kwargs.setdefault('allow_random_base', True)
    return getattr(backbones, name)(
        **{**TINY[name].args, **kwargs}, tuner=tuner)


def library(name: str, **kwargs) -> nn.Module:
    """The library's own network of the same size, no weight at its start."""
    entry = TINY[name]
    net = getattr(backbones, name).plain_class(
        **{**entry.args, **entry.library, **kwargs})
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in net.parameters():
            param.add_(.1 * torch.randn(param.shape, generator=generator))
    net.eval()  # returns None in some libraries
    return net


def refuses(name: str, tuner: type) -> bool:
    """Whether a family lacks a site that a tuner class asks for."""
    return bool(lacking(getattr(backbones, name), tuner))
