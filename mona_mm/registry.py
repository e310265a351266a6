"""Registries of mona_mm: children of mmengine's, and one for tuners.

A config reaches every member by its scope prefix (``mona_mm.X``) under any
default scope; the prefix alone imports what is needed.
"""
from mmengine import registry as mmengine
from mmengine.registry import Registry


def _child(parent: Registry, *places: str) -> Registry:
    """Of one of mmengine's; its members are registered in these modules."""
    return Registry(parent.name, parent=parent, scope='mona_mm',
                    locations=[f'mona_mm.{place}' for place in places])


MODELS = _child(mmengine.MODELS, 'backbones', 'models')
DATASETS = _child(mmengine.DATASETS, 'data.datasets')
HOOKS = _child(mmengine.HOOKS, 'engine')
LOOPS = _child(mmengine.LOOPS, 'engine')
METRICS = _child(mmengine.METRICS, 'data.metrics')
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    mmengine.OPTIM_WRAPPER_CONSTRUCTORS, 'engine')
VISBACKENDS = _child(mmengine.VISBACKENDS, 'engine')
TUNERS = Registry('tuner', scope='mona_mm', locations=['mona_mm.tuners'])
#: What checkpoints of a backbone family are called like, for converting them.
LAYOUTS = Registry('layout', scope='mona_mm', locations=['mona_mm.backbones'])
