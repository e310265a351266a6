"""What tuning costs: time, memory and throughput of backbones, compared.

``subjects`` says what is compared, ``options`` how, one file each does the
measuring, ``report`` and ``chart`` show it.
"""
from .options import MEASURES, Options, Size
from .run import benchmark
from .sources import from_arch, from_configs
from .subjects import Comparison
from .whole import models_from_configs, whole

__all__ = [
    'MEASURES', 'Comparison', 'Options', 'Size', 'benchmark', 'from_arch',
    'from_configs', 'models_from_configs', 'whole'
]
