"""mona_mm: adapter-tuning of vision backbones across OpenMMLab."""

__version__ = '0.1.0'


def __getattr__(name: str):
    if name in ('fuse', 'unfuse'):
        from mona_mm import fold
        return getattr(fold, name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
