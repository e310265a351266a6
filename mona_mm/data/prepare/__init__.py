"""From downloaded archives to the folders that the configs read."""
from . import (  # noqa: F401 (each registers itself)
    ade20k,
    cifar100,
    classification,
    coco,
    detection,
    flowers102,
    food101,
    loveda,
    oxfordpets,
    rotated,
    segmentation,
    star,
    svhn,
)
from .base import PREPARERS, Archive, Preparer, build

__all__ = ['Archive', 'PREPARERS', 'Preparer', 'build']
