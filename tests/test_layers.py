"""The rooms of the house stand on each other, and never the other way."""
import ast
from pathlib import Path
from typing import Dict, Iterator, Set, Tuple

import pytest
from paths import ROOT

#: From the ground up: a room imports those before it, and itself.
LAYERS = ('errors', 'text', 'registry', 'compat', 'hub', 'config', 'starting',
          'ops', 'tuners', 'checkpoint', 'backbones', 'data', 'models',
          'engine', 'reports', 'research', 'doctor')
#: All of the package may ask for these, and they ask for nothing.
FACTS = ('__version__', )


def imports(path: Path, package: Path) -> Iterator[Tuple[int, str]]:
    """(line, module of mona_mm) of every import, wherever in a file it is.

    Args:
        path (Path): The file.
        package (Path): The folder of ``mona_mm``.
    """
    here = ('mona_mm', *path.relative_to(package).with_suffix('').parts)
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = '.'.join(here[:-node.level]) if node.level else ''
            module = '.'.join(filter(None, [start, node.module]))
            names = [f'{module}.{alias.name}' for alias in node.names]
        else:
            continue
        for name in names:
            if name.split('.')[0] == 'mona_mm':
                yield node.lineno, name


def upward(package: Path) -> Set[str]:
    """What imports a room above it, or one that is not in the plan."""
    found = set()
    for path in sorted(package.rglob('*.py')):
        room = path.relative_to(package).with_suffix('').parts[0]
        if room == '__init__':  # the door: it leads to all of them
            continue
        for line, name in imports(path, package):
            asked = (name.split('.') + ['__version__'])[1]
            if asked in FACTS:
                continue
            if asked not in LAYERS or LAYERS.index(asked) > LAYERS.index(
                    room):
                found.add(f'{path.relative_to(package)}:{line}: {name}')
    return found


def test_every_part_of_the_package_is_a_room_of_the_plan():
    package = ROOT / 'mona_mm'
    parts = {path.stem for path in package.iterdir() if (
        path.suffix == '.py' or any(path.rglob('*.py')))}
    assert parts - {'__init__', '__pycache__'} == set(LAYERS)


def test_no_room_imports_one_above_it():
    assert upward(ROOT / 'mona_mm') == set()


@pytest.mark.parametrize('code, line', [
    ('import mona_mm.engine.launch\n', 1),
    ('from mona_mm import errors, engine\n', 1),
    ('def f():\n    from mona_mm.engine import launch\n', 2),
    ('from ..engine import launch\n', 1),
    ('from .. import engine\n', 1),
    ('from mona_mm.attic import x\n', 1)])
def test_an_import_of_a_room_above_is_seen(code, line, tmp_path):
    package = tmp_path / 'mona_mm'
    (package / 'ops').mkdir(parents=True)
    (package / 'ops/a.py').write_text(code)
    (package / 'ops/b.py').write_text('from mona_mm import errors\n'
                                      'from mona_mm import __version__\n'
                                      'from .a import x\nimport engine\n')
    assert {one.split(': ')[0] for one in upward(package)} == {
        f'ops/a.py:{line}'}


def test_modules_of_a_room_do_not_import_each_other_in_a_circle():
    """At module level: what is imported within a function comes later."""
    package, graph = ROOT / 'mona_mm', {}
    files = {'.'.join(('mona_mm', *path.relative_to(package).with_suffix(
        '').parts)).removesuffix('.__init__'): path
             for path in package.rglob('*.py')}
    for module, path in files.items():
        tree = ast.parse(path.read_text(encoding='utf-8'))
        later = {line for node in ast.walk(tree)
                 if isinstance(node, (ast.FunctionDef, ast.If))
                 for line in range(node.lineno, node.end_lineno + 1)}
        graph[module] = {
            name if name in files else name.rpartition('.')[0]
            for line, name in imports(path, package) if line not in later
        } & files.keys()
    assert list(_circles(graph)) == []


def _circles(graph: Dict[str, Set[str]]) -> Iterator[str]:
    """Take away whoever asks for nothing that is left, and so on."""
    left = {name: set(asked) - {name} for name, asked in graph.items()}
    while free := [name for name, asked in left.items()
                   if not asked & left.keys()]:
        for name in free:
            del left[name]
    yield from sorted(left)
