"""mona_mm: adapter-tuning of vision backbones across OpenMMLab."""

__version__ = '0.1.0'
