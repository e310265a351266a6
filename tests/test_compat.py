"""What of other packages must not stand in the way, and what is used."""
import ast
import importlib
import inspect
import os
import pkgutil
import signal
import subprocess
import sys
import textwrap
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.utils import get_object_from_string
from paths import ROOT

import mona_mm
from mona_mm import compat, starting
from mona_mm.checkpoint import loader
from mona_mm.compat import (
    PRIVATE,
    missing_for_multimodal,
    unwatch_mmpretrain,
    watch_mmpretrain,
)

MODELS = Path(find_spec('mmpretrain').origin).parent / 'models'
#: What a later transformers has of what mmpretrain wants: all but one
#: function, as version 5 dropped it.
_STAND_IN = '''
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

__path__ = []
DROPPED = {dropped!r}


class Any(type):
    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return Thing


class Thing(metaclass=Any):
    pass


def lookup(module):
    def get(name):
        if name in DROPPED or name.startswith('__'):
            raise AttributeError(name)
        return type(name, (Thing, ), {{}}) if name[0].isupper() else print
    return get


class Finder(MetaPathFinder, Loader):
    def find_spec(self, name, path=None, target=None):
        if name.startswith('transformers.'):
            return ModuleSpec(name, self, is_package=True)

    def exec_module(self, module):
        module.__getattr__ = lookup(module)


sys.meta_path.append(Finder())
__getattr__ = lookup(None)
'''
_BUILD = '''
import mona_mm
{before}
from mmpretrain.registry import MODELS
net = MODELS.build(dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='mona_mm.SwinTransformerMona', arch=dict(
        embed_dims=16, depths=[2, 2], num_heads=[1, 2]), out_indices=(1, )),
    head=dict(type='mmpretrain.LinearClsHead', num_classes=2,
              in_channels=32)))
from mmpretrain.datasets import COCOCaption
print('built', type(net.backbone).__name__)
'''


def stand_in(folder: Path, dropped=()) -> Path:
    """A package that calls itself transformers 5 and lacks some names."""
    package = folder / 'transformers'
    package.mkdir()
    (package / '__init__.py').write_text(_STAND_IN.format(dropped=dropped))
    info = folder / 'transformers-5.17.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(
        'Metadata-Version: 2.1\nName: transformers\nVersion: 5.17.0\n')
    return folder


def run(folder: Path, before: str = '') -> subprocess.CompletedProcess:
    code = (f'import sys; sys.path.insert(0, {str(folder)!r})\n'
            + _BUILD.format(before=before))
    return subprocess.run([sys.executable, '-W', 'ignore', '-c', code],
                          capture_output=True, text=True)


def test_the_first_build_works_beside_a_transformers_without_some_names(
        tmp_path):
    done = run(stand_in(tmp_path, ('find_pruneable_heads_and_indices', )))
    assert done.returncode == 0, done.stderr
    assert 'built SwinTransformerMona' in done.stdout
    assert 'transformers.pytorch_utils has no find_pruneable' in done.stderr


@pytest.mark.slow
def test_without_the_watch_that_transformers_breaks_mmpretrain(tmp_path):
    done = run(stand_in(tmp_path, ('find_pruneable_heads_and_indices', )),
               'mona_mm.compat.unwatch_mmpretrain()')
    assert done.returncode != 0
    assert 'transformers' in done.stderr or 'TypeError' in done.stderr


@pytest.fixture
def importable(monkeypatch, tmp_path):
    """Import a stand-in in this process, and forget it afterwards."""
    def use(**kwargs):
        monkeypatch.syspath_prepend(str(stand_in(tmp_path, **kwargs)))
    before, finders = set(sys.modules), list(sys.meta_path)
    yield use
    sys.meta_path[:] = finders
    for name in set(sys.modules) - before:
        if name.split('.')[0] == 'transformers':
            del sys.modules[name]
    importlib.invalidate_caches()


@pytest.mark.skipif('transformers' in sys.modules,
                    reason='the real transformers is imported already')
def test_models_stay_where_transformers_has_what_they_need(importable):
    importable()
    assert missing_for_multimodal(MODELS) == ''


@pytest.mark.skipif('transformers' in sys.modules,
                    reason='the real transformers is imported already')
@pytest.mark.parametrize('name', ['BasicTokenizer', 'PreTrainedModel'])
def test_what_is_missing_is_named(importable, name):
    importable(dropped=(name, ))
    assert missing_for_multimodal(MODELS).endswith(f'has no {name}')


def test_watching_can_be_undone(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(stand_in(tmp_path)))
    monkeypatch.setattr(sys, 'meta_path', list(sys.meta_path))
    monkeypatch.setattr(sys, 'modules', {
        k: v for k, v in sys.modules.items()
        if not k.startswith('mmpretrain')})
    unwatch_mmpretrain()
    before = list(sys.meta_path)
    watch_mmpretrain()
    watch_mmpretrain()  # twice is once
    assert len(sys.meta_path) == len(before) + 1
    unwatch_mmpretrain()
    assert sys.meta_path == before


LIBRARIES = ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmdet', 'mmseg',
             'mmpretrain', 'mmrotate')
#: Python's own, public in spite of their names.
PYTHON = ('_asdict', '_exit', '_fields', '_make', '_replace')
FILES = [path for path in (*ROOT.glob('mona_mm/**/*.py'),
                           *ROOT.glob('tools/*.py'))
         if path != ROOT / 'mona_mm/compat.py']


def is_private(name) -> bool:
    return isinstance(name, str) and name.startswith('_') and (
        not name.startswith('__') and name not in ('_', *PYTHON))


def attributes(owner: type) -> set:
    """The names that a class of a library has or gives to its instances."""
    return set().union(*(
        named_in(cls) for cls in owner.__mro__
        if cls.__module__.split('.')[0] in LIBRARIES))


@cache
def named_in(cls: type) -> frozenset:
    """The same, of what is written in this class alone."""
    names = {*vars(cls), *vars(cls).get('__annotations__', ())}
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):  # made at run time, or in C
        return frozenset(names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(
                node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Call) and '__setattr__' == getattr(
                node.func, 'attr', '') and len(node.args) == 2:
            names.add(getattr(node.args[0], 'value', None))
    return frozenset(names)


def found(owner: str):
    """A module, or what one has, by its dotted path."""
    try:
        return importlib.import_module(owner)
    except ImportError:
        where, _, name = owner.rpartition('.')
        return getattr(found(where), name)


def has(owner: str, name: str) -> bool:
    """Whether a library still has a private name."""
    thing = found(owner)
    if inspect.isclass(thing):
        return name in attributes(thing)
    if inspect.isfunction(thing):
        return name in inspect.getsource(thing)
    return hasattr(thing, name)


@pytest.mark.parametrize('one', PRIVATE, ids=lambda one: (
    f'{one.owner}.{one.name}'))
def test_private_name_is_still_there_and_has_a_reason(one):
    assert has(one.owner, one.name), (
        f'{one.owner} has no {one.name} any more: see mona_mm/compat.py')
    assert one.why and is_private(one.name)


def test_a_private_name_that_went_would_be_noticed():
    for owner in {one.owner for one in PRIVATE}:
        assert not has(owner, '_gone')


def private_in(path: Path, own: set):
    """(line, code) of every private name in a file that is not our own."""
    tree = ast.parse(path.read_text())
    modules = {alias.asname or alias.name.split('.')[0]
               for node in ast.walk(tree) if isinstance(node, ast.Import)
               for alias in node.names
               if alias.name.split('.')[0] in LIBRARIES}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [*node.module.split('.'), *(n.name for n in node.names)]
            if names[0] in LIBRARIES and any(map(is_private, names)):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            of_library = isinstance(root, ast.Name) and root.id in modules
            if of_library or node.attr not in own:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and len(node.args) > 1 and (
                getattr(node.func, 'id', '') in ('getattr', 'hasattr',
                                                 'setattr')):
            name = getattr(node.args[1], 'value', None)
            if is_private(name) and name not in own:
                yield node.lineno, ast.unparse(node)


def own_names() -> set:
    """Private names that mona_mm defines, and no library's among them."""
    names = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, (ast.Attribute, ast.Name)) and isinstance(
                    node.ctx, ast.Store):
                names.add(getattr(node, 'attr', getattr(node, 'id', None)))
    return names - {one.name for one in PRIVATE if not one.inherited}


def test_private_names_of_libraries_are_used_in_compat_alone():
    own = own_names() | {one.name for one in PRIVATE if one.inherited}
    assert [f'{path.relative_to(ROOT)}:{line}: {code}' for path in FILES
            for line, code in private_in(path, own)] == []


def test_finder_sees_every_way_to_use_a_private_name(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text(
        'import torch\nimport torch.nn as nn\n'
        'from torch._utils import x\nfrom mmcv.ops import _y\n'
        'torch._C.f()\nnn.modules._functions\nrunner._resume\n'
        "getattr(state, '_metadata', {})\nself._own\nos._exit(1)\n")
    assert {line for line, _ in private_in(path, {'_own'})} == {
        3, 4, 5, 6, 7, 8}


def test_what_subclasses_take_over_from_a_library_is_listed():
    """Private methods that they replace, and attributes that they touch."""
    told = []
    for info in pkgutil.walk_packages(mona_mm.__path__, 'mona_mm.'):
        if info.name.endswith('__main__'):
            continue
        try:
            module = importlib.import_module(info.name)
        except ImportError as error:  # Triton is only there with a GPU
            assert 'triton' in str(error), info.name
            continue
        for cls in vars(module).values():
            if not inspect.isclass(cls) or cls.__module__ != info.name:
                continue
            listed = {one.name for one in PRIVATE if one.inherited
                      and found(one.owner) in cls.__mro__}
            nodes = list(ast.walk(ast.parse(textwrap.dedent(
                inspect.getsource(cls)))))
            used = {getattr(n, 'attr', getattr(n, 'name', None))
                    for n in nodes
                    if isinstance(n, (ast.Attribute, ast.FunctionDef))}
            told += [f'{info.name}.{cls.__name__}: {name}' for name in sorted(
                filter(is_private, used & attributes(cls) - listed))]
    assert told == []


@pytest.fixture
def as_before():
    """Put back in force what a test has undone."""
    before = compat.in_force()
    yield
    compat.undo()
    if "mmengine's checkpoint loaders" in before:
        loader.install()


def readers() -> set:
    """The modules of the functions that mmengine reads checkpoints with."""
    return {CheckpointLoader._get_checkpoint_loader(path).__module__
            for path in ('a.pth', 'http://a.org/a.pth', 's3://a/b.pth',
                         'torchvision://resnet18', 'open-mmlab://vgg16_caffe',
                         'mmcls://alexnet')}


def test_what_acts_on_the_process_can_be_undone(as_before):
    loader.install()
    before = {number: signal.getsignal(number)
              for number in (signal.SIGTERM, signal.SIGINT)}
    starting.answer_signals()
    assert readers() == {loader.__name__}
    assert signal.getsignal(signal.SIGTERM) not in before.values()
    compat.undo()
    assert readers() == {'mmengine.runner.checkpoint'}
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert compat.in_force() == ()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_loaders_of_others_stay_when_ours_are_taken_back(as_before):
    loader.install()
    CheckpointLoader.register_scheme('mine://', print)
    try:
        compat.undo()
        assert CheckpointLoader._get_checkpoint_loader('mine://a') is print
    finally:
        del CheckpointLoader._schemes['mine://']


def test_libraries_are_left_alone_if_the_environment_says_so(
        monkeypatch, as_before):
    compat.undo()
    with monkeypatch.context() as patch:
        patch.setenv('MONA_MM_LEAVE_LIBRARIES', '1')
        loader.install()
        assert readers() == {'mmengine.runner.checkpoint'}
        watch_mmpretrain()
        assert compat.in_force() == ()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
@pytest.mark.parametrize('undone', [False, True])
def test_children_do_what_they_are_told_until_it_is_undone(undone, as_before):
    reading, writing = os.pipe()
    compat.in_children(lambda: os.write(writing, b'told'))
    if undone:
        compat.undo()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    assert os.read(reading, 9) == (b'' if undone else b'told')
    os.close(reading)
    compat.undo()


@pytest.mark.parametrize('then', compat.MOVED)
def test_old_names_of_modules_mean_the_same_modules(then):
    now = importlib.import_module(compat.MOVED[then])
    assert importlib.import_module(then) is now
    assert now.__spec__.name == compat.MOVED[then]
    for info in pkgutil.iter_modules(getattr(now, '__path__', ())):
        assert importlib.import_module(f'{then}.{info.name}') is (
            importlib.import_module(f'{now.__name__}.{info.name}'))


@pytest.mark.parametrize('kind', [
    'mona_mm.engine.saving.AtomicCheckpointHook',
    'mona_mm.engine.check.TrainabilityCheckHook',
    'mona_mm.engine.fuse_hook.FuseHook',
    'mona_mm.datasets.svhn.SVHN',
    'mona_mm.datasets.SVHN',
    'mona_mm.detectors.as_released.RetinaHead',
    'mona_mm.metrics.voc.VOCMetric'])
def test_classes_in_dumped_configs_are_found(kind):
    name = kind.rpartition('.')[2]
    module = importlib.import_module(kind.rpartition('.')[0])
    assert get_object_from_string(kind) is getattr(module, name)


def test_no_module_is_where_an_old_name_says():
    for then in compat.MOVED:
        path = ROOT / then.replace('.', '/')
        assert not path.with_suffix('.py').exists()
        assert not (path / '__init__.py').exists()
