"""What is inserted and what trains: one file per method.

Every module of this folder is imported, so a new method needs no list.
"""
from importlib import import_module
from pkgutil import iter_modules

from .base import (
    EXTRAS,
    LINEARS,
    SITES,
    BlockOutput,
    Facts,
    Tuner,
    build_tuner,
    known_tuners,
)

for _module in iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = [
    'EXTRAS', 'LINEARS', 'SITES', 'BlockOutput', 'Facts', 'Tuner',
    'build_tuner', 'known_tuners'
]
