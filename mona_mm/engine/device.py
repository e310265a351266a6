"""What a run runs on, and GPU recipes where there is no accelerator."""
import gc
import os
import platform
from importlib import import_module
from typing import Any, Dict, List, Sequence

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import AmpOptimWrapper

from mona_mm.config import means, name_of

#: Names, in the registry and of the classes behind it.
_SYNC_BN = ('SyncBN', 'MMSyncBN', 'SyncBatchNorm')


def adapt_to_cpu(cfg: Config) -> List[str]:
    """Replace what needs an accelerator, if there is none.

    Mixed precision becomes float32, SyncBN becomes BN, and distributed
    wrapping leaves the parameters on the CPU.

    Args:
        cfg (Config): Changed in place.

    Returns:
        list[str]: One line for the log, or none if nothing was replaced.
    """
    if get_device() != 'cpu':
        return []
    replaced = []
    wrapper = cfg.get('optim_wrapper') or {}
    if means(wrapper.get('type'), AmpOptimWrapper):
        wrapper['type'] = 'OptimWrapper'
        for key in ('loss_scale', 'dtype'):
            wrapper.pop(key, None)
        replaced.append('mixed precision runs as float32')
    if _replace_sync_bn(cfg.get('model')):
        replaced.append('SyncBN runs as BN')
    if cfg.get('launcher', 'none') != 'none':
        cfg.model_wrapper_cfg = {
            'type': 'MMDistributedDataParallel',
            'broadcast_buffers': False,
            'find_unused_parameters': cfg.get('find_unused_parameters', False),
            **(cfg.get('model_wrapper_cfg') or {}),
            'device_ids': None,
        }
    return [f'no accelerator: {" and ".join(replaced)}'] if replaced else []


def init_cpu_group(launcher: str) -> None:
    """Join the gloo process group where mmengine would ask for a GPU.

    The environment says where (:func:`mona_mm.engine.cluster.set_address`).

    Args:
        launcher (str): ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
    """
    if launcher == 'none' or get_device() != 'cpu' or dist.is_initialized():
        return
    dist.init_process_group('gloo')


def leave_group() -> None:
    """Leave the process group; without it a finished run aborts."""
    if dist.is_initialized():
        gc.collect()  # a runner that is gone keeps the group's threads alive
        dist.destroy_process_group()


def device_name(place: torch.device) -> str:
    """The name that a device goes by, e.g. ``'NVIDIA H200'``.

    Args:
        place (torch.device): A CUDA device, or any other for the processor.
    """
    if place.type == 'cuda':
        return torch.cuda.get_device_name(place)
    if os.path.isfile('/proc/cpuinfo'):
        with open('/proc/cpuinfo') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(names: Sequence[str]) -> Dict[str, str]:
    """The versions of packages, by their import names."""
    return {name: import_module(name).__version__ for name in names}


def _replace_sync_bn(node: Any) -> bool:
    found = False
    if isinstance(node, dict):
        if name_of(node.get('type')) in _SYNC_BN:
            node['type'] = 'BN'
            found = True
        children = list(node.values())
    elif isinstance(node, (list, tuple)):
        children = node
    else:
        return False
    return any([_replace_sync_bn(child) for child in children]) or found
