"""Detectors that test by windows, and parts that work as published.

mmdet and mmrotate are imported when one of them is built, not before:
whoever builds a backbone for another task does not wait for them.
"""
from functools import lru_cache
from importlib import import_module
from typing import Any, Callable

from torch import nn

from mona_mm.registry import MODELS

from .windowed import WindowedTest

#: Where the class behind a name is: a part of ours, or a detector of a
#: library that :class:`WindowedTest` is mixed into, which takes ``windows``
#: beside the detector's arguments. (mmdet's FasterRCNN with oriented heads is
#: Oriented R-CNN.)
_PLACES = dict(
    BatchNormLinearClsHead='mona_mm.models.batch_norm_head',
    RetinaHead='mona_mm.models.as_published',
    SimpleFeaturePyramid='mona_mm.models.simple_feature_pyramid',
    SingleRoIExtractor='mona_mm.models.as_published',
    WindowedFasterRCNN='mmdet.models.FasterRCNN',
    WindowedH2RBoxV2='mmrotate.models.detectors.H2RBoxV2Detector',
    WindowedRetinaNet='mmdet.models.RetinaNet')

__all__ = [*_PLACES, 'WindowedTest']


@lru_cache(None)
def _class_of(name: str) -> type:
    place = _PLACES[name]
    if place.startswith('mona_mm.'):
        return getattr(import_module(place), name)
    module, _, detector = place.rpartition('.')
    cls = getattr(import_module(module), detector)
    name = f'Windowed{detector}'
    return type(name, (WindowedTest, cls), dict(__module__=__name__))


def _builder(name: str) -> Callable[..., nn.Module]:

    def build(**kwargs: Any) -> nn.Module:
        return _class_of(name)(**kwargs)

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f'Build the class at ``{_PLACES[name]}``.'
    return build


for _name in _PLACES:
    globals()[_name] = MODELS.register_module()(_builder(_name))
