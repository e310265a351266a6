"""PVT (arXiv 2102.12122) and v2 (arXiv 2106.13797) with tuners.

The classes build on mmdet's. mmpretrain's models import those anyway where
mmdet is installed, so that costs nothing; who works without mmdet has all
other families, and is told what is missing when a PVT is built.
"""
from importlib.util import find_spec
from typing import Any, NoReturn

from mona_mm.registry import MODELS

from .layouts import PVTNames

__all__ = ['PVTNames']

if find_spec('mmdet'):
    from .backbone import (
        TunedPyramidVisionTransformer,
        TunedPyramidVisionTransformerV2,
    )
    __all__ += ['TunedPyramidVisionTransformer',
                'TunedPyramidVisionTransformerV2']
else:

    @MODELS.register_module(['TunedPyramidVisionTransformer',
                             'TunedPyramidVisionTransformerV2'])
    def needs_mmdet(**kwargs: Any) -> NoReturn:
        """Say that there is no PVT here."""
        raise ImportError('a PVT builds on mmdet, which is not installed; '
                          'see requirements.txt')
