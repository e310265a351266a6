"""What of other packages must not stand in the way."""
import importlib
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from mona_mm.compat import (
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
