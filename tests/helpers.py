"""Small models and files that several tests need."""
from contextlib import contextmanager
from itertools import count
from unittest import mock

import torch
from mmengine.config import Config
from mmpretrain.models import SwinTransformer
from paths import ROOT

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.backbones.tuned import lacking
from mona_mm.checkpoint import read_checkpoint
from mona_mm.tuners import build_tuner, known_tuners

_count = count()


def new_name(head) -> str:
    """A name that no other run of this process has."""
    return f'{head}-{next(_count)}'


NANO = dict(embed_dims=16, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8])


def tuners_of(family: type) -> tuple:
    """Every registered method whose sites a family has.

    So a new one is tested without a new test.
    """
    return tuple(t for t in known_tuners()
                 if not lacking(family, build_tuner(dict(type=t))))


TUNERS = tuners_of(TunedSwinTransformer)


def nano(tuner='Mona', **kwargs) -> TunedSwinTransformer:
    """A tiny tuned Swin whose random base is accepted."""
    kwargs.setdefault('allow_random_base', True)
    if isinstance(tuner, str):
        tuner = dict(type=tuner)
    return TunedSwinTransformer(arch=NANO, tuner=tuner, **kwargs)


@contextmanager
def on_meta():
    """Build on the meta device, where drawing values costs the most time."""
    with torch.device('meta'), mock.patch(
            'mmengine.model.weight_init._no_grad_trunc_normal_',
            lambda tensor, *args: tensor):
        yield


def shipped_base() -> dict:
    """The tensors of the base that the quickstarts start from."""
    nano = Config.fromfile(ROOT / 'configs/_base_/models/swin-nano.py').nano
    state = read_checkpoint(nano.init_cfg.checkpoint)['state_dict']
    return {k: v.float() if v.is_floating_point() else v
            for k, v in state.items()}


def plain_nano(**kwargs) -> SwinTransformer:
    """mmpretrain's own Swin of the same size, for dense tasks."""
    kwargs.setdefault('out_indices', (0, 1, 2, 3))
    return SwinTransformer(arch=NANO, pad_small_map=True, **kwargs)


def image(*shape, seed=1) -> torch.Tensor:
    """A reproducible random image batch."""
    shape = shape or (2, 3, 64, 64)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loss_of(outputs) -> torch.Tensor:
    """A scalar that reaches every output with uneven weights."""
    return sum((o * image(*o.shape, seed=i)).sum()
               for i, o in enumerate(outputs))


def save_plain_base(path, seed=0, **kwargs):
    """Write a plain backbone's state dict, and return it."""
    torch.manual_seed(seed)
    state = plain_nano(**kwargs).state_dict()
    torch.save(dict(state_dict=state), path)
    return state
