"""The libraries' own analysis tools, as installed, on our configs."""
import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from paths import ROOT

LIBRARIES = ('mmdet', 'mmseg', 'mmpretrain', 'mmrotate')
#: {tool: where it is in `.mim/tools`, and its arguments by library}
TOOLS = {
    'get_flops': ('analysis_tools', {
        'mmdet': 'CONFIG --num-images 1', 'mmseg': 'CONFIG --shape 64 64',
        'mmpretrain': 'CONFIG --shape 64 64',
        'mmrotate': 'CONFIG --shape 64 64'}),
    'browse_dataset': ('analysis_tools', {
        'mmdet': 'CONFIG --output-dir OUT --not-show',
        'mmseg': 'CONFIG --output-dir OUT --not-show',
        'mmpretrain': 'CONFIG --output-dir OUT --not-show',
        'mmrotate': 'CONFIG --output-dir OUT --not-show'}),
    'print_config': ('misc', dict.fromkeys(LIBRARIES, 'CONFIG')),
    'analyze_logs': ('analysis_tools', {
        # Its own default style, 'dark', is none of matplotlib's.
        'mmdet': 'plot_curve LOG --keys loss --out OUT/curve.png '
                 '--style ggplot',
        'mmseg': 'LOG --keys loss --out OUT/curve.png',
        'mmpretrain': 'plot_curve LOG --keys loss --out OUT/curve.png',
        'mmrotate': 'plot_curve LOG --keys loss --out OUT/curve.png'}),
    'analyze_results': ('analysis_tools', {
        'mmdet': 'CONFIG FOUND OUT --topk 1',
        'mmpretrain': 'CONFIG FOUND --out-dir OUT --topk 1'}),
    'confusion_matrix': ('analysis_tools', {
        'mmdet': 'CONFIG FOUND OUT',
        # It asks the dataset's class for the names: one with as many.
        'mmseg': 'CONFIG FOUND OUT --cfg-options '
                 'test_dataloader.dataset.type=LoveDADataset '
                 'test_dataloader.dataset.img_suffix=.jpg '
                 'test_dataloader.dataset.metainfo=None',
        'mmpretrain': 'CONFIG FOUND --show-path OUT/matrix.png',
        'mmrotate': 'CONFIG FOUND OUT'}),
    'benchmark': ('analysis_tools', {
        'mmdet': 'CONFIG --checkpoint DELTA --task TASK --max-iter 2 '
                 '--num-warmup 0 --log-interval 1 --work-dir OUT',
        'mmseg': 'CONFIG DELTA --log-interval 1 --work-dir OUT',
        'mmrotate': 'CONFIG --checkpoint DELTA --task TASK --max-iter 2 '
                    '--num-warmup 0 --log-interval 1 --work-dir OUT'}),
}
#: `--task inference` puts the model on a GPU, whatever there is.
TASK = 'inference' if torch.cuda.is_available() else 'dataloader'
#: What tools import that is no requirement of ours.
NEEDS = {('mmseg', 'analyze_logs'): 'seaborn',
         ('mmrotate', 'analyze_logs'): 'seaborn',
         ('mmdet', 'benchmark'): 'psutil', ('mmrotate', 'benchmark'): 'psutil'}
#: Tools that another package has left behind: {tool: (what is asked, why)}.
OUTDATED = {('mmpretrain', 'browse_dataset'): (
    lambda: 'renderer' in inspect.signature(import_module(
        'matplotlib._tight_bbox').adjust_bbox).parameters,
    'it calls a function of matplotlib that takes other arguments in this '
    'version')}
#: mmseg has a second one in `misc`, which takes the names of classes from the
#: dataset's class, not from the config's `metainfo`.
PLACES = {('mmpretrain', 'browse_dataset'): 'visualization'}
#: Tools that a library does not have.
LACKS = {
    ('mmseg', 'analyze_results'): 'has none',
    ('mmrotate', 'analyze_results'): 'has none',
    ('mmpretrain', 'benchmark'): 'has none: `benchmarks` are configs'}
ALL = [(library, tool) for library in LIBRARIES for tool in TOOLS]


def tool_of(library: str, tool: str) -> Path:
    package = Path(find_spec(library).origin).parent
    folder = PLACES.get((library, tool), TOOLS[tool][0])
    return package / '.mim/tools' / folder / f'{tool}.py'


@pytest.mark.parametrize('library, tool', ALL)
def test_what_a_library_lacks_is_listed(library, tool):
    pytest.importorskip(library)
    assert tool_of(library, tool).is_file() != ((library, tool) in LACKS)
    assert (library in TOOLS[tool][1]) != ((library, tool) in LACKS)


def python(*words) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], text=True, capture_output=True,
        env={**os.environ, 'MPLBACKEND': 'Agg', 'PYTHONPATH': os.pathsep.join(
            [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])})
    assert not done.returncode, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope='module')
def ran(shop):
    """{library: a run's log and predictions}, made when asked for."""
    done = {}

    def run(library: str) -> dict:
        if library not in done:
            made = shop.made(library)
            folder = shop.folder / f'run-{library}'
            python(ROOT / 'tools/train.py', made.config, '--work-dir', folder,
                   '--cfg-options', 'train_cfg.max_epochs=2',
                   'train_cfg.val_interval=1', 'default_hooks.logger.'
                   'interval=1', 'train_dataloader.batch_size=2')
            log, = folder.glob('*/vis_data/scalars.json')
            # mmseg's tools read label pictures.
            found = folder / ('found' if library == 'mmseg' else 'found.pkl')
            python(ROOT / 'tools/test.py', made.config,
                   folder / 'epoch_2.pth', '--out', found, '--work-dir',
                   folder / 'test')
            done[library] = dict(LOG=str(log), FOUND=str(found))
        return done[library]

    return run


def call(library, tool, shop, out, ran=None, **given) -> str:
    made = shop.made(library)
    out.mkdir(exist_ok=True)
    line = TOOLS[tool][1][library]
    known = dict(CONFIG=made.config, DELTA=made.one, OUT=str(out), TASK=TASK)
    known.update(given)
    if 'LOG' in line or 'FOUND' in line:
        known.update(ran(library))
    words = [re.sub('^(CONFIG|DELTA|OUT|LOG|FOUND|TASK)',
                    lambda m: str(known[m[1]]), word)
             for word in line.split()]
    return python(tool_of(library, tool), *words)


@pytest.mark.slow
@pytest.mark.parametrize('library, tool', [
    one for one in ALL if one not in LACKS and one[1] != 'get_flops'])
def test_stock_tool_runs(library, tool, shop, ran, tmp_path):
    pytest.importorskip(library)
    if (library, tool) in NEEDS:
        pytest.importorskip(NEEDS[library, tool])
    outdated, why = OUTDATED.get((library, tool), (bool, ''))
    if outdated():
        pytest.skip(why)
    text = call(library, tool, shop, tmp_path / 'out', ran)
    if tool == 'print_config':
        assert 'mona_mm.SwinTransformerMona' in text
    elif tool == 'benchmark':
        assert re.search(r'(fps|FPS)\D*[\d.]+', text), text[-2000:]
    else:
        pictures = [p for p in (tmp_path / 'out').rglob('*')
                    if p.suffix in ('.png', '.jpg')]
        assert pictures and all(p.stat().st_size > 500 for p in pictures)


@pytest.mark.slow
@pytest.mark.parametrize('library', LIBRARIES)
def test_stock_flops_are_those_of_the_written_form(library, shop, tmp_path):
    pytest.importorskip(library)
    fast = shop.made(library).config
    if library == 'mmrotate':
        # Its tool gives a model no data samples, without which no detector of
        # two stages runs, its own neither.
        cfg = Config.fromfile(ROOT / 'configs/kld/kld-retinanet_swin-b_1x_'
                              'dota.py')
        maps = cfg.model.backbone.out_indices
        cfg.model.backbone = Config.fromfile(fast).model.backbone
        cfg.model.backbone.out_indices = maps
        width = cfg.model.backbone.arch.embed_dims
        cfg.model.neck.in_channels = [width * 2**n for n in maps]
        fast = tmp_path / 'fast.py'
        cfg.dump(fast)
    cfg = Config.fromfile(fast)
    cfg.model.backbone.line_by_line = True
    cfg.dump(tmp_path / 'lines.py')
    bare = Config.fromfile(fast)
    bare.model.backbone.tuner = dict(type='Fixed')
    bare.model.backbone.type = 'mona_mm.TunedSwinTransformer'
    bare.dump(tmp_path / 'bare.py')
    told = [re.findall(r'(Flops|Params): *([\d.]+ ?[KMG]?)', call(
        library, 'get_flops', shop, tmp_path / 'out', CONFIG=str(config)))
        for config in (fast, tmp_path / 'lines.py', tmp_path / 'bare.py')]
    assert len(told[0]) == 2
    assert told[0] == told[1]
    assert told[0][0] != told[2][0]  # Mona counts
