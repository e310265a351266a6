"""Where and with what something was measured."""
import os
import platform
from datetime import datetime, timezone

import torch

from mona_mm.engine.machine import device_name, versions

_PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mona_mm')
_VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'GOMP_SPINCOUNT',
              'CUDA_LAUNCH_BLOCKING', 'PYTORCH_CUDA_ALLOC_CONF')


def environment(place: torch.device) -> dict:
    """Describe this machine and its software.

    Args:
        place (torch.device): What is measured on.

    Returns:
        dict: ``date``, ``device``, ``threads``, ``versions`` and more, as
        plain data.
    """
    return dict(
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        device=device_name(place),
        device_type=place.type,
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        load_average=[round(n, 2) for n in os.getloadavg()],
        matmul_precision=torch.get_float32_matmul_precision(),
        cuda=torch.version.cuda if place.type == 'cuda' else None,
        python=platform.python_version(),
        system=f'{platform.system()} {platform.machine()}',
        versions=versions(_PACKAGES),
        variables={k: os.environ[k] for k in _VARIABLES if k in os.environ})
