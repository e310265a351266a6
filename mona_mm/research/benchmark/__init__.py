"""What tuning costs: time, memory and throughput of backbones, compared.

``subjects`` says what is compared, ``options`` how. Every measure is a class:
:class:`~.saved.Saved`, :class:`~.training.Time`, :class:`~.training.Memory`,
:class:`~.training.Area`, :class:`~.inference.Inference`,
:class:`~.optimizer.Optimizer`, :class:`~.launches.Launches` and
:class:`~.launches.Shapes`. ``run`` takes them, ``chart`` draws them, and
``whole`` times the iterations of whole models.
"""
from .options import Options, Size
from .run import MEASURES, benchmark
from .sources import from_arch, from_configs
from .subjects import Comparison
from .whole import models_from_configs, whole

__all__ = [
    'MEASURES', 'Comparison', 'Options', 'Size', 'benchmark', 'from_arch',
    'from_configs', 'models_from_configs', 'whole'
]
