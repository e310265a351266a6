"""One config in all the forms that mmengine reads."""
import json
from importlib import import_module
from typing import Any, Dict

from mmengine import registry as registries
from mmengine.config import Config
from mmengine.registry import Registry

from mona_mm.config import class_of
from mona_mm.registry import TUNERS

_REGISTRIES = [
    value for value in vars(registries).values()
    if isinstance(value, Registry)
]


def write_forms(path, folder) -> Dict[str, str]:
    """Write a text config anew in every form.

    Args:
        path (Path): A config whose types are names.
        folder (Path): For the files, all of the same name.

    Returns:
        dict[str, str]: ``names`` (as it is), ``classes`` (pure Python: types
        are imported), ``paths`` (as that one is dumped) and ``json``.
    """
    cfg = Config.fromfile(path)
    imports: Dict[str, str] = {}
    content = _pure(cfg.to_dict(), cfg.get('default_scope'), imports)
    content.pop('default_scope')  # a pure Python config needs none
    body = '\n'.join(f'{key} = {_source(value)}'
                     for key, value in content.items())
    text = '\n'.join([*imports.values(), '', body, ''])
    files = {form: folder / form / 'config.py' for form in (
        'names', 'classes', 'paths')}
    files['json'] = folder / 'json' / 'config.json'
    for file in files.values():
        file.parent.mkdir(parents=True)
    files['names'].write_text(cfg.pretty_text)
    files['classes'].write_text(text)
    files['json'].write_text(json.dumps(cfg.to_dict()))
    pure = Config.fromfile(files['classes'])
    assert not isinstance(pure.model.type, str)
    files['paths'].write_text(pure.pretty_text)
    assert Config.fromfile(files['paths']).model.type.count('.') > 1
    return {form: str(file) for form, file in files.items()}


class _Imported(str):
    """A class, by the name that it is imported under."""


def _pure(node: Any, scope: str, imports: Dict[str, str]) -> Any:
    if isinstance(node, (list, tuple)):
        return type(node)(_pure(child, scope, imports) for child in node)
    if not isinstance(node, dict):
        return node
    new = {k: _pure(v, scope, imports) for k, v in node.items()}
    if isinstance(node.get('type'), str):
        cls = _find(node['type'], scope)
        if cls is not None:
            place = _public(cls)
            name = f'{place}.{cls.__name__}'.replace('.', '_')
            imports[name] = f'from {place} import {cls.__name__} as {name}'
            new['type'] = _Imported(name)
    return new


def _public(cls: type) -> str:
    """The shortest module that has a class, as people import it."""
    parts = cls.__module__.split('.')
    paths = ['.'.join(parts[:i + 1]) for i in range(len(parts))]
    return next(p for p in paths if getattr(
        import_module(p), cls.__name__, None) is cls)


def _find(kind: str, scope: str) -> Any:
    """A class by its name, of whatever registry; norms keep theirs."""
    if kind.removeprefix('mona_mm.') in TUNERS.module_dict:
        return TUNERS.module_dict[kind.removeprefix('mona_mm.')]
    found = (class_of(kind, one, scope) for one in _REGISTRIES)
    return next((c for c in found
                 if isinstance(c, type) and '<' not in c.__qualname__), None)


def _source(node: Any) -> str:
    if isinstance(node, _Imported):
        return str(node)
    if isinstance(node, dict):
        return '{%s}' % ', '.join(
            f'{key!r}: {_source(value)}' for key, value in node.items())
    if isinstance(node, (list, tuple)):
        inner = ''.join(f'{_source(child)}, ' for child in node)
        return f'[{inner}]' if isinstance(node, list) else f'({inner})'
    return repr(node)
