"""Stochastic depth that does not compute what it drops.

Drop-path multiplies the branch of some samples by zero. A sample's branch
depends on no other sample, so those branches need not be computed at all:
the same sums and the same gradients, for a share of the work.
"""
from typing import Callable, List, Optional

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

Branch = Callable[[Tensor, Optional[Tensor]], Tensor]


def add_branch(x: Tensor, normed: Optional[Tensor], branch: Branch,
               drop_path: nn.Module, skip: bool, trains: bool) -> Tensor:
    """Return ``x + drop_path(branch(x))``.

    Args:
        x (Tensor): (B, N, C).
        normed (Tensor, optional): (B, N, C), handed to the branch too.
        branch (Callable): Maps (x, normed), of some samples, to (., N, C).
        drop_path (nn.Module): Applied to the branch.
        skip (bool): Leave dropped samples out of the branch.
        trains (bool): Whether parameters of the branch train: then one
            sample passes even if all are dropped, so that every parameter
            gets its (zero) gradient, as distributed training expects.

    Raises:
        ValueError: If branches are to be left out and x is not on a CPU.
    """
    if not (type(drop_path) is DropPath and drop_path.training
            and drop_path.drop_prob > 0):
        return x + drop_path(branch(x, normed))
    if skip and x.device.type != 'cpu':
        raise ValueError(
            f'skip_dropped=True: the model is on {x.device}, where leaving '
            'branches out is slower than computing them (it waits for the '
            "host and launches more): set skip_dropped='auto' or False")
    keep = 1 - drop_path.drop_prob
    if not skip:
        out = branch(x, normed)
        return torch.addcmul(x, out, _draw(out, keep, out.device) / keep)
    kept = torch.nonzero(_draw(x, keep, 'cpu').flatten()).flatten().tolist()
    if len(kept) == len(x):
        return x + branch(x, normed) / keep
    if not kept and not trains:
        return x
    chosen = kept or [0]
    out = branch(_take(x, chosen), _take(normed, chosen)).to(x.dtype)
    index = torch.tensor(chosen, device='cpu').to(x.device)
    return torch.index_add(x, 0, index, out, alpha=1 / keep if kept else 0)


def _draw(like: Tensor, keep: float, device) -> Tensor:
    """1 for samples that are kept, else 0; shaped (B, 1, ...)."""
    shape = (like.shape[0], ) + (1, ) * (like.ndim - 1)
    return torch.rand(
        shape, dtype=like.dtype, device=device).add_(keep).floor_()


def _take(x: Optional[Tensor], samples: List[int]) -> Optional[Tensor]:
    """Samples of a batch; neighbours without a copy."""
    if x is None:
        return None
    first, count = samples[0], len(samples)
    if samples == list(range(first, first + count)):
        return x[first:first + count]
    return x[samples]
