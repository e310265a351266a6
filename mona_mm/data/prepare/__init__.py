"""From downloaded archives to the folders that the configs read."""
from . import (  # noqa: F401 (each registers itself)
    ade20k,
    cifar100,
    coco,
    dota,
    flowers102,
    food101,
    imagenet_r,
    loveda,
    oxfordpets,
    potsdam,
    star,
    svhn,
    voc,
)
from .base import PREPARERS, Archive, Preparer, build

__all__ = ['Archive', 'PREPARERS', 'Preparer', 'build']
