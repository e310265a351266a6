"""Where tuners attach: one folder per backbone family.

Every folder here is imported and its public names are this package's, so a
new family needs no list.
"""
from importlib import import_module
from pkgutil import iter_modules

from .tuned import (
    TunedBackbone,
    require_tuned,
    tuned_class,
    tuned_types,
)

__all__ = ['TunedBackbone', 'require_tuned', 'tuned_class', 'tuned_types']

for _module in iter_modules(__path__):
    if _module.ispkg:
        _family = import_module(f'{__name__}.{_module.name}')
        globals().update(
            {name: getattr(_family, name) for name in _family.__all__})
        __all__ += _family.__all__
