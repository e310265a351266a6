"""Autocast inside autograd functions, said explicitly."""
import torch
from torch import Tensor


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which matrix products of ``x`` run now."""
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def no_autocast(device: torch.device) -> torch.autocast:
    """Switch autocast off, in a forward as well as in a backward pass."""
    return torch.autocast(device.type, enabled=False)
