"""From downloaded archives to the folders that the configs read."""
from . import (  # noqa: F401 (they register themselves)
    classification,
    detection,
    rotated,
    segmentation,
)
from .base import PREPARERS, Archive, Preparer, build

__all__ = ['Archive', 'PREPARERS', 'Preparer', 'build']
