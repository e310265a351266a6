"""What a run or a measurement ran on."""
import os
import platform
from importlib import import_module
from typing import Dict, Sequence

import torch


def device_name(place: torch.device) -> str:
    """The name that a device goes by, e.g. ``'NVIDIA H200'``.

    Args:
        place (torch.device): A CUDA device, or any other for the processor.
    """
    if place.type == 'cuda':
        return torch.cuda.get_device_name(place)
    return _cpu_name() or platform.processor() or platform.machine()


def versions(names: Sequence[str]) -> Dict[str, str]:
    """The versions of packages, by their import names."""
    return {name: import_module(name).__version__ for name in names}


def _cpu_name() -> str:
    if not os.path.isfile('/proc/cpuinfo'):
        return ''
    with open('/proc/cpuinfo') as file:
        names = [line.split(':', 1)[1].strip() for line in file
                 if line.startswith('model name')]
    return names[0] if names else ''
