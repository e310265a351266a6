"""Datasets that the OpenMMLab libraries lack."""
from .imagenet_r import ImageNetR
from .star import STARDataset
from .svhn import SVHN
from .voc2007 import RULES, VOC2007SingleLabel

__all__ = ['ImageNetR', 'RULES', 'STARDataset', 'SVHN', 'VOC2007SingleLabel']
