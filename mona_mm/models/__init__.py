"""Detectors that test by windows, and parts that work as published.

mmdet and mmrotate are imported when one of them is built, not before:
whoever builds a backbone for another task does not wait for them.
"""
from functools import lru_cache

from torch import nn

from mona_mm.registry import MODELS

from .windowed import WindowedTest


@lru_cache(None)
def _windowed(detector: type) -> type:
    name = f'Windowed{detector.__name__}'
    return type(name, (WindowedTest, detector), dict(__module__=__name__))


@MODELS.register_module()
def WindowedFasterRCNN(**kwargs) -> nn.Module:
    """Build mmdet's FasterRCNN (with oriented heads: Oriented R-CNN).

    Args:
        **kwargs: ``windows`` of :class:`WindowedTest`, and the detector's.
    """
    from mmdet.models import FasterRCNN
    return _windowed(FasterRCNN)(**kwargs)


@MODELS.register_module()
def WindowedRetinaNet(**kwargs) -> nn.Module:
    """Build mmdet's RetinaNet.

    Args:
        **kwargs: ``windows`` of :class:`WindowedTest`, and the detector's.
    """
    from mmdet.models import RetinaNet
    return _windowed(RetinaNet)(**kwargs)


@MODELS.register_module()
def WindowedH2RBoxV2(**kwargs) -> nn.Module:
    """Build mmrotate's H2RBoxV2Detector.

    Args:
        **kwargs: ``windows`` of :class:`WindowedTest`, and the detector's.
    """
    from mmrotate.models.detectors import H2RBoxV2Detector
    return _windowed(H2RBoxV2Detector)(**kwargs)


@MODELS.register_module()
def BatchNormLinearClsHead(**kwargs) -> nn.Module:
    """Build :class:`mona_mm.models.batch_norm_head.BatchNormLinearClsHead`.

    Args:
        **kwargs: ``num_classes``, ``in_channels``, and mmpretrain's
            ``LinearClsHead``'s.
    """
    from .batch_norm_head import BatchNormLinearClsHead as Head
    return Head(**kwargs)


@MODELS.register_module()
def RetinaHead(**kwargs) -> nn.Module:
    """Build :class:`mona_mm.models.as_published.RetinaHead`.

    Args:
        **kwargs: ``nms_pre_anchors`` (default True), and mmdet's.
    """
    from .as_published import RetinaHead as Head
    return Head(**kwargs)


@MODELS.register_module()
def SingleRoIExtractor(**kwargs) -> nn.Module:
    """Build :class:`mona_mm.models.as_published.SingleRoIExtractor`.

    Args:
        **kwargs: ``float32`` (default True), and mmdet's.
    """
    from .as_published import SingleRoIExtractor as Extractor
    return Extractor(**kwargs)


@MODELS.register_module()
def SimpleFeaturePyramid(**kwargs) -> nn.Module:
    """Build the pyramid of :mod:`mona_mm.models.simple_feature_pyramid`.

    Args:
        **kwargs: ``in_channels``, ``out_channels``, ``scales``, ``num_outs``.
    """
    from .simple_feature_pyramid import SimpleFeaturePyramid as Pyramid
    return Pyramid(**kwargs)


__all__ = [
    'BatchNormLinearClsHead', 'RetinaHead', 'SimpleFeaturePyramid',
    'SingleRoIExtractor', 'WindowedFasterRCNN', 'WindowedH2RBoxV2',
    'WindowedRetinaNet', 'WindowedTest'
]
