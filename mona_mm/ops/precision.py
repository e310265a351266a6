"""Autocast inside autograd functions, said explicitly."""
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which matrix products of ``x`` run now."""
    kind = x.device.type
    if _has_autocast(kind) and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def no_autocast(device: torch.device) -> AbstractContextManager:
    """Switch autocast off, in a forward as well as in a backward pass."""
    if _has_autocast(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _has_autocast(kind: str) -> bool:
    """Whether a kind of device has autocast; the meta device has not."""
    return kind != 'meta' and torch.amp.is_autocast_available(kind)
