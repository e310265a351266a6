"""mona_mm: adapter-tuning of vision backbones across OpenMMLab."""
from mona_mm.compat import know_old_names, watch_mmpretrain
from mona_mm.hub import announce

__version__ = '0.1.0'

know_old_names()
watch_mmpretrain()
announce()


def __getattr__(name: str):
    if name in ('fuse', 'unfuse'):
        from mona_mm.ops import fold
        return getattr(fold, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
