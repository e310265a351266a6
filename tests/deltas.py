"""Small delta checkpoints that several tests need."""
from pathlib import Path

import torch
from mmpretrain.models import SwinTransformer
from torch import nn

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.checkpoint.delta import slim
from mona_mm.checkpoint.safetensors import write_safetensors

MICRO = dict(embed_dims=8, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2])


def make_base(path, seed=0) -> Path:
    """Write a plain base."""
    torch.manual_seed(seed)
    plain = SwinTransformer(arch=MICRO, out_indices=(), pad_small_map=True)
    torch.save(dict(state_dict=plain.state_dict()), path)
    return path


def micro(tuner='Mona', **kwargs) -> TunedSwinTransformer:
    """A tuned Swin that is even smaller than nano."""
    if isinstance(tuner, str):
        tuner = dict(type=tuner)
    return TunedSwinTransformer(arch=MICRO, tuner=tuner, **kwargs)


def based(tuner='Mona', base=None, **kwargs):
    """A micro backbone, on a base file if there is one."""
    if base is not None:
        kwargs['init_cfg'] = dict(type='Pretrained', checkpoint=str(base))
    net = micro(tuner, **kwargs)
    if base is not None:
        net.init_weights()
    return net


def move(model: nn.Module, seed=1) -> nn.Module:
    """Change all that trains, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for param in model.parameters():
            if param.requires_grad:
                param.add_(.1 * torch.randn(param.shape, generator=generator))
    return model.eval()


def with_head(backbone) -> nn.Module:
    """A model: the backbone, a head, and a buffer that training changes."""
    head = nn.Sequential(nn.Conv2d(64, 4, 1), nn.BatchNorm2d(4))
    head[1].running_mean += 3
    return nn.ModuleDict(dict(backbone=backbone, head=head)).eval()


def save_delta(model, path, full=False, **content) -> Path:
    """Write a model's checkpoint as the hook does (without waiting)."""
    content['state_dict'] = model.state_dict()
    slim(content, model, full)
    if Path(path).suffix == '.safetensors':
        write_safetensors(content, str(path))
    else:
        torch.save(content, path)
    return path


def same_state(first, second) -> bool:
    """Whether two models hold the same, bit for bit."""
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
