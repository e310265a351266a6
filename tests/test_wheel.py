"""The wheel in an environment of its own, by mim and from any folder."""
import os
import re
import shutil
import subprocess
import sysconfig
import venv
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from paths import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec('mim') is None,
                       reason='onedl-mim is not installed')]
#: A user's config that inherits from the package, and is soon done.
CONFIG = '''
_base_ = 'mona_mm::quickstart/retinanet_swin-nano-mona_shapes.py'
model = dict(
    bbox_head=dict(stacked_convs=1),
    test_cfg=dict(score_thr=0.0))
train_cfg = dict(max_epochs=1, val_interval=1)
'''
#: Its pretrained backbone comes with the wheel.
BASE = '''
import os
from mmengine.config import Config
from mona_mm.checkpoint import fetch
import mona_mm
backbone = Config.fromfile('my_config.py').model.backbone
path = fetch(backbone.init_cfg.checkpoint)
assert path.startswith(os.path.dirname(mona_mm.__file__)), path
print('from', mona_mm.__file__)
'''


@pytest.fixture(scope='module')
def user(tmp_path_factory) -> SimpleNamespace:
    """An environment with the wheel, and a folder to work in.

    The libraries are those of this environment.
    """
    folder = tmp_path_factory.mktemp('user')
    source = folder / 'checkout'
    for name in ('mona_mm', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, symlinks=True,
                        ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('pyproject.toml', 'README.md', 'LICENSE', 'model-index.yml'):
        shutil.copy(ROOT / name, source / name)
    environment = folder / 'environment'
    venv.create(environment)
    here = {'base': str(environment), 'platbase': str(environment)}
    packages = [sysconfig.get_path('purelib'), *(
        p for p in os.environ.get('PYTHONPATH', '').split(os.pathsep)
        if p and os.path.abspath(p) != str(ROOT))]
    with open(os.path.join(sysconfig.get_path('purelib', vars=here),
                           'libraries.pth'), 'w') as file:
        file.write('\n'.join(packages))
    work = folder / 'work'
    work.mkdir()

    def python(*words) -> str:
        done = subprocess.run(
            [environment / 'bin/python', *map(str, words)], text=True,
            cwd=work, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'})
        assert not done.returncode, done.stdout[-4000:]
        return done.stdout

    pip = ('-m', 'pip', '-q', '--disable-pip-version-check')
    python(*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w',
           folder / 'dist', source)
    wheel, = (folder / 'dist').glob('mona_mm-*.whl')
    python(*pip, 'install', '--no-deps', wheel)
    return SimpleNamespace(python=python, work=work, environment=environment)


def test_mim_makes_data_trains_and_tests(user) -> None:
    (user.work / 'my_config.py').write_text(CONFIG)
    told = user.python('-c', BASE)
    assert f'from {user.environment}' in told
    user.python('-m', 'mim', 'run', 'mona_mm', 'make_shapes', 'data/shapes',
                '--train', 4, '--val', 2, '--per-class', 1,
                '--source-per-class', 1, '--val-per-class', 1)
    assert (user.work / 'data/shapes/VOCdevkit').is_dir()
    trained = user.python(
        '-m', 'mim', 'train', 'mona_mm', 'my_config.py', '--cfg-options',
        'train_dataloader.batch_size=2', 'default_hooks.logger.interval=1')
    assert 'Training finished successfully' in trained
    assert re.search(r'Epoch\(train\) +\[1\]\[2/2\].* loss: [\d.]+', trained)
    tested = user.python(
        '-m', 'mim', 'test', 'mona_mm', 'my_config.py', '--checkpoint',
        'work_dirs/my_config/epoch_1.pth')
    scores = [re.findall(r'pascal_voc/(mAP|AP50): ([\d.]+)', text)
              for text in (trained, tested)]
    assert len(scores[1]) == 2 and scores[0][:2] == scores[1]


def test_mim_search_finds_what_is_published(user) -> None:
    name = 'retinanet_swin-l-mona_1x_voc'
    told = user.python('-m', 'mim', 'search', 'mona_mm', '--config', name)
    assert f'config id: {name}' in told
    assert re.search(r'voc 2007/ap50 +87\.3\b', told)  # the paper's Table 2


def test_tool_reads_a_config_that_inherits_from_the_package(user) -> None:
    """A layer of C channels has 133 C + 9728 parameters at 64 in between.

    Two vectors of C for the norm and two that scale it, 128 C + C + 64 of the
    projections, 64 (9 + 25 + 49 + 3) of the filters, 64 * 65 of the 1x1 one.
    """
    (user.work / 'own.py').write_text(
        "_base_ = 'mona_mm::retinanet/retinanet_swin-l-mona_1x_voc.py'\n")
    told = user.python('-m', 'mim', 'run', 'mona_mm', 'count_params', 'own.py')
    places = [int(n.replace(',', '')) for n in re.findall(
        r'own +\S after_\w+ +\S +([\d,]+)', told)]
    layers = sum(depth * (133 * channels + 9728) for depth, channels in zip(
        (2, 2, 18, 2), (192, 384, 768, 1536)))
    assert places == [layers, layers]


def test_doctor_finds_the_stack_sound(user) -> None:
    told = user.python('-m', 'mona_mm.doctor')
    assert re.search(r'ok +libraries .*mona_mm import', told)
