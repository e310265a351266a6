"""Where a library has to be met halfway, each with its reason.

``mmpretrain.models`` imports its multimodal models (BLIP, Flamingo, ...) as
soon as any transformers from 4.28 on is installed. They need names that later
versions dropped, so that beside one of those no model of mmpretrain can be
imported, not even its Swin. :func:`watch_mmpretrain` looks at what they need
first, and takes mmpretrain's own way out, the one for environments without
transformers, where something is missing.
"""
import ast
import importlib
import logging
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Iterator, List, Optional, Tuple

_MODELS = 'mmpretrain.models'


def watch_mmpretrain() -> None:
    """Look after the import of mmpretrain's models, if that is to come.

    Nothing is imported now. Called once, by ``import mona_mm``.
    """
    watching = any(isinstance(f, _Watch) for f in sys.meta_path)
    if not watching and _MODELS not in sys.modules and find_spec(
            'transformers'):
        sys.meta_path.insert(0, _Watch())


def unwatch_mmpretrain() -> None:
    """Undo :func:`watch_mmpretrain`."""
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _Watch)]


class _Watch(MetaPathFinder):
    """Stands in front of the other finders until mmpretrain's models come."""

    def find_spec(self, name, path=None, target=None) -> Optional[ModuleSpec]:
        if name != _MODELS:
            return None
        unwatch_mmpretrain()
        spec = PathFinder.find_spec(name, path)
        missing = spec and spec.origin and missing_for_multimodal(
            Path(spec.origin).parent)
        if missing:
            _leave_out_multimodal(spec)
            logging.getLogger('mona_mm').warning(
                "mmpretrain's multimodal models are left out: %s. Everything "
                'else of mmpretrain works; for those models take a version '
                'of transformers that they know', missing)
        return spec


def missing_for_multimodal(models: Path) -> str:
    """What mmpretrain's multimodal models need of transformers and lack.

    Args:
        models (Path): The folder of ``mmpretrain.models``.

    Returns:
        str: The first thing that is missing; empty if all is there.
    """
    files = [*sorted((models / 'multimodal').rglob('*.py')),
             models / 'utils/huggingface.py', models / 'utils/tokenizer.py']
    wanted = {need for file in files if file.is_file()
              for need in _imports(ast.parse(file.read_text('utf-8')).body)}
    for name, attribute in sorted(wanted):
        try:
            module = importlib.import_module(name)
        except Exception as error:  # whatever a foreign package raises
            return f'{name} does not import ({error!r})'
        if attribute and not hasattr(module, attribute):
            return f'{name} has no {attribute}'
    return ''


def _imports(body: List[ast.stmt]) -> Iterator[Tuple[str, str]]:
    """(module, name) of what is imported from transformers with a file."""
    for node in body:
        if isinstance(node, (ast.Try, ast.If)):
            yield from _imports(node.body)
        elif isinstance(node, ast.ImportFrom):
            if node.module and node.module.split('.')[0] == 'transformers':
                yield from ((node.module, n.name) for n in node.names)
        elif isinstance(node, ast.Import):
            yield from ((n.name, '') for n in node.names
                        if n.name.split('.')[0] == 'transformers')


def _leave_out_multimodal(spec: ModuleSpec) -> None:
    """Let a module run as if transformers were not installed.

    The flag is put back afterwards: datasets of mmpretrain look at it too,
    and do not need transformers.
    """
    run = spec.loader.exec_module

    def exec_module(module: ModuleType) -> None:
        dependency = importlib.import_module('mmpretrain.utils.dependency')
        before = dependency.WITH_MULTIMODAL
        dependency.WITH_MULTIMODAL = False
        try:
            run(module)
        finally:
            dependency.WITH_MULTIMODAL = before

    spec.loader.exec_module = exec_module
