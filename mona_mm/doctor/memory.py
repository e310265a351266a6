"""What training a config takes, without data and without a GPU."""
from typing import Any, Iterator, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from mona_mm.config import means, name_of

_ADAM = ('Adam', 'AdamW', 'NAdam', 'RAdam')


def estimate(cfg: Config, model: nn.Module, backbone: nn.Module,
             size: Optional[Sequence[int]] = None) -> str:
    """Estimate the memory of one training process, and say how.

    Args:
        cfg (Config): Batch size, picture size, optimizer and precision.
        model (nn.Module): The config's model, on the meta device.
        backbone (nn.Module): Its backbone.
        size (Sequence[int], optional): (H, W) of the pictures; by default
            what the training pipeline makes.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() * p.element_size()
                  for p in model.parameters() if p.requires_grad)
    kind = name_of(cfg.optim_wrapper.optimizer.type)
    moments = trained * (2 if kind in _ADAM else 1)
    parts = [f'weights {_size(weights)}', f'gradients {_size(trained)}',
             f'{kind} {_size(moments)}']
    total = weights + trained + moments
    batch = cfg.train_dataloader.get('batch_size', 1)
    size = size or picture_size(cfg)
    if size is None:
        what = ('activations not counted: no picture size found in the '
                'training pipeline')
    else:
        backbone.allow_random_base = True  # it holds no numbers at all
        channels = getattr(backbone, 'in_channels', 3)
        kept = saved_bytes(backbone, (batch, channels, *size))
        what = f'{batch} x {size[0]} x {size[1]}'
        if means(cfg.optim_wrapper.get('type'), AmpOptimWrapper):
            kept //= 2
            what += ', halved for mixed precision'
        total += kept
        parts.append(f'backbone activations {_size(kept)}')
    return (f'about {_size(total)} and the heads\' activations on top: '
            f'{" + ".join(parts)}\n(an estimate: parameters '
            f'counted; tensors that the backbone keeps for the backward '
            f'pass counted in a pass without data, {what}; no workspace, no '
            'fragmentation)')


def _size(count: int) -> str:
    """A number of bytes, in words."""
    if count < 2**30:
        return f'{count / 2**20:.0f} MiB'
    return f'{count / 2**30:.1f} GiB'


def saved_bytes(module: nn.Module, shape: Tuple[int, ...]) -> int:
    """Count what a module keeps for its backward pass, storage by storage.

    Args:
        module (nn.Module): On the meta device: nothing is computed.
        shape (tuple[int, ...]): Of its input, (B, C, H, W).
    """
    params = {StorageWeakRef(t.untyped_storage())
              for t in (*module.parameters(), *module.buffers())}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        ref = StorageWeakRef(storage)
        if ref not in params:
            kept[ref] = storage  # held: numbers are not reused
        return tensor

    was = module.training
    module.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        outputs = module(torch.empty(shape, device='meta'))
    module.train(was)
    total = sum(storage.nbytes() for storage in kept.values())
    del outputs
    return total


def picture_size(cfg: Config) -> Optional[Tuple[int, int]]:
    """The largest (height, width) that the training pipeline makes.

    A crop wins over the resizing before it.
    """
    found = None
    for transform in _transforms(cfg.train_dataloader.get('dataset')):
        keys = ('crop_size', ) if 'crop_size' in transform else (
            'scale', 'size', 'scales')
        for key in keys:
            sizes = list(_sizes(transform.get(key)))
            if sizes:
                found = max(sizes, key=lambda s: s[0] * s[1])
                break
    return found


def _transforms(node: Any) -> Iterator[dict]:
    """Every transform of a dataset's pipelines, in order."""
    if isinstance(node, dict):
        kind = name_of(node.get('type'))
        if 'Resize' in kind or 'Crop' in kind:
            yield node
        for key in ('pipeline', 'dataset', 'datasets', 'transforms'):
            yield from _transforms(node.get(key))
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _transforms(child)


def _sizes(value: Any) -> Iterator[Tuple[int, int]]:
    if isinstance(value, int):
        yield value, value
    elif isinstance(value, (list, tuple)):
        if len(value) == 2 and all(isinstance(v, int) for v in value):
            yield min(value), max(value)
        else:
            for child in value:
                yield from _sizes(child)
