"""The quickstart's choices and pictures (its steps are the tools)."""
import json
import os
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers import TUNERS
from mmengine.config import Config

from mona_mm.errors import ConfigError
from mona_mm.reports.bootstrap import Gap, match, mean_ap
from mona_mm.research import quickstart
from mona_mm.research.figures import _best, ground_truth
from mona_mm.research.shapes import make_shapes


@pytest.fixture(autouse=True)
def _at_root(root, monkeypatch):
    monkeypatch.chdir(root)


def test_all_methods_are_the_registered_ones():
    assert sorted(quickstart.choose(['all'])) == sorted(
        t.lower() for t in TUNERS)


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ConfigError, match='monna; expected of full.*all'):
        quickstart.choose(['mona', 'monna'])


def test_one_box_is_drawn_per_place_and_none_below_the_score():
    found = dict(
        bboxes=np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30],
                         [50, 50, 60, 60]]),
        scores=np.array([.5, .9, .4, .1]), labels=np.array([0, 1, 2, 3]))
    boxes, labels = _best(found, threshold=.3)
    assert labels.tolist() == [1, 2]
    assert boxes[0].tolist() == [1, 0, 10, 10]


def test_folder_is_only_for_results_of_the_same_base_and_pictures(tmp_path):
    folder = tmp_path / 'quickstart'
    quickstart.claim(folder, 'a')
    quickstart.claim(folder, 'a')
    with pytest.raises(ConfigError, match="'pictures': 'a'.*remove it"):
        quickstart.claim(folder, 'b')
    (folder / 'made_of.json').unlink()
    (folder / 'base.pth').touch()  # as before the base came with the package
    with pytest.raises(ConfigError, match='an earlier version.*remove it'):
        quickstart.claim(folder, 'a')


def test_pictures_of_another_version_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_shapes('data/shapes', train=1, val=1, size=32, per_class=0,
                val_per_class=0)
    with pytest.raises(ConfigError, match='make clean-quickstart'):
        quickstart.pictures()


def test_every_method_of_the_table_has_the_seed_and_one_thread(monkeypatch):
    jobs = [quickstart._job(method) for method in quickstart.METHODS]
    assert [Path(job.config).stem for job in jobs] == [
        'retinanet_swin-nano-mona_shapes', 'retinanet_swin-nano-fixed_shapes',
        'retinanet_swin-nano_shapes']
    assert {job.seed for job in jobs} == {quickstart.SEED}
    rates = ['lr_mult=3' in ' '.join(job.options) for job in jobs]
    assert rates == [True, False, False]
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    with quickstart.one_thread():
        assert os.environ['OMP_NUM_THREADS'] == '1'
    assert os.environ['OMP_NUM_THREADS'] == '3'


def test_clear_differences_are_said_to_be_and_no_others():
    def gap(difference):
        return Gap(difference, 0.01)
    text = quickstart.differences({
        'mona': dict(fixed=gap(.05), full=gap(-.015)),
        'fixed': dict(mona=gap(-.05), full=gap(-.065)),
        'full': dict(mona=gap(.015), fixed=gap(.065))})
    rows = [[cell.strip() for cell in line.split('|')[1:-1]]
            for line in text.splitlines() if ' - ' in line]
    assert rows == [['mona - fixed', '+5.0', '1.0', 'yes'],
                    ['mona - full', '-1.5', '1.0', 'no'],
                    ['fixed - full', '-6.5', '1.0', 'yes']]
    assert 'errors: mona above fixed, fixed below full.' in text


@pytest.mark.slow
def test_whole_road_on_few_pictures(root, tmp_path, monkeypatch, capsys):
    for name in ('configs', 'tools', 'mona_mm'):
        (tmp_path / name).symlink_to(root / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(root))
    monkeypatch.setattr(quickstart, 'make_shapes', partial(
        make_shapes, train=16, val=12, per_class=0, val_per_class=0))
    job = quickstart._job

    def short(method):
        return replace(job(method), options=(
            *job(method).options, 'train_cfg.max_epochs=1',
            'train_cfg.val_interval=1'))

    monkeypatch.setattr(quickstart, '_job', short)
    assert quickstart.run(['mona', 'fixed']) == 0
    out = tmp_path / 'work_dirs/quickstart'
    text = (out / 'results.md').read_text()
    assert '| mona - fixed' in text and 'with the same seed' in text
    assert '12 test pictures' in capsys.readouterr().out
    # The bootstrap is of the very mAP that the test printed.
    cfg = Config.fromfile(quickstart.TASK)
    truths = ground_truth(cfg)
    assert len(truths) == 12
    for method in ('mona', 'fixed'):
        found = {Path(f['img_path']).stem: f['pred_instances'] for f in (
            pickle.loads((out / method / 'predictions.pkl').read_bytes()))}
        ours = mean_ap(match([found[t['name']] for t in truths], truths, 6),
                       np.ones(12, int))
        result = json.loads((out / method / 'result.json').read_text())
        assert ours == pytest.approx(result['metric'], abs=1e-4)
    times = {p: p.stat().st_mtime_ns for p in out.glob('*/result.json')}
    assert quickstart.run(['mona', 'fixed']) == 0  # all is done
    assert times == {p: p.stat().st_mtime_ns for p in times}
    assert (out / 'results.md').read_text() == text


def test_seconds_are_of_the_fastest_stretch_of_training(tmp_path):
    log = tmp_path / '20260101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('\n'.join(json.dumps(line) for line in (
        dict(loss=2., time=.5, iter=40, epoch=1, step=40),
        {'pascal_voc/mAP': .25, 'time': .1, 'step': 1},
        dict(loss=1., time=.25, iter=80, epoch=2, step=80),
        {'pascal_voc/mAP': .5, 'time': .1, 'step': 2})))
    assert quickstart.seconds_per_step(tmp_path) == .25
