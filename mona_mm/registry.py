"""Registries of mona_mm: children of mmengine's, and one for tuners.

A config reaches every member by its scope prefix (``mona_mm.X``) under any
default scope; the prefix alone imports what is needed.
"""
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import Registry

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    scope='mona_mm',
    locations=['mona_mm.backbones', 'mona_mm.models'])
DATASETS = Registry(
    'dataset',
    parent=MMENGINE_DATASETS,
    scope='mona_mm',
    locations=['mona_mm.data.datasets'])
HOOKS = Registry(
    'hook',
    parent=MMENGINE_HOOKS,
    scope='mona_mm',
    locations=['mona_mm.engine'])
LOOPS = Registry(
    'loop',
    parent=MMENGINE_LOOPS,
    scope='mona_mm',
    locations=['mona_mm.engine'])
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='mona_mm',
    locations=['mona_mm.data.metrics'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    scope='mona_mm',
    locations=['mona_mm.engine'])
VISBACKENDS = Registry(
    'vis_backend',
    parent=MMENGINE_VISBACKENDS,
    scope='mona_mm',
    locations=['mona_mm.engine'])
TUNERS = Registry('tuner', scope='mona_mm', locations=['mona_mm.tuners'])
#: What checkpoints of a backbone family are called like, for converting them.
LAYOUTS = Registry('layout', scope='mona_mm', locations=['mona_mm.backbones'])
