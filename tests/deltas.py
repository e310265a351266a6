"""Small delta checkpoints that several tests need."""
from pathlib import Path

import torch
from helpers import nano, save_plain_base
from torch import nn

from mona_mm.checkpoint.delta import slim
from mona_mm.checkpoint.files import write_checkpoint


def make_base(path, seed=0) -> Path:
    """Write a plain base."""
    save_plain_base(path, seed=seed, out_indices=())
    return path


def based(tuner='Mona', base=None, **kwargs):
    """A nano backbone on a base file, with moved trained parameters."""
    if base is not None:
        kwargs['init_cfg'] = dict(type='Pretrained', checkpoint=str(base))
    net = nano(tuner, allow_random_base=False, **kwargs)
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
    head = nn.Sequential(nn.Conv2d(128, 4, 1), nn.BatchNorm2d(4))
    head[1].running_mean += 3
    return nn.ModuleDict(dict(backbone=backbone, head=head)).eval()


def save_delta(model, path, full=False, **content) -> Path:
    """Write a model's checkpoint as the hook does."""
    content['state_dict'] = model.state_dict()
    slim(content, model, full)
    write_checkpoint(content, str(path))
    return path


def same_state(first, second) -> bool:
    """Whether two models hold the same, bit for bit."""
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
