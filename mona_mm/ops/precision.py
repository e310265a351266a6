"""Autocast inside autograd functions, said explicitly."""
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def autocasts(x: Tensor) -> bool:
    """Whether autocast is on where ``x`` is."""
    kind = x.device.type
    return _has_autocast(kind) and torch.is_autocast_enabled(kind)


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which matrix products of ``x`` run now."""
    if autocasts(x):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def no_autocast(device: torch.device) -> AbstractContextManager:
    """Switch autocast off, in a forward as well as in a backward pass.

    (A compiler that traces cannot ask which devices have autocast.)
    """
    if torch.compiler.is_compiling() or _has_autocast(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _has_autocast(kind: str) -> bool:
    """Whether a kind of device has autocast; the meta device has not."""
    return kind != 'meta' and torch.amp.is_autocast_available(kind)
