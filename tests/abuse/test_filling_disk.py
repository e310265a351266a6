"""A disk that fills during a run: told, nothing lost, gone on with."""
import os
import subprocess
from collections import Counter

import pytest
from hostile import show
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from runs import config, save_base

from mona_mm.engine import launch
from mona_mm.errors import UserError

ITERATIONS = 12
MIB = 12


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, of 12 MiB."""
    place = tmp_path / 'disk'
    place.mkdir()
    made = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={MIB}m', 'tmpfs', str(place)],
        capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f'a file system cannot be mounted: {made.stderr}')
    yield place
    # Lazily: the logs of the runs are still open.
    subprocess.run(['umount', '-l', str(place)], check=True)


@HOOKS.register_module(force=True)
class FillDisk(Hook):
    """Leaves ``left`` bytes of the disk before an iteration."""

    priority = 'VERY_HIGH'
    losses = {}

    def __init__(self, place='', at=-1, left=0):
        self.place, self.at, self.left = place, at, left

    def before_train_iter(self, runner, *args, **kwargs):
        if runner.iter == self.at:
            with open(f'{self.place}/ballast', 'wb', buffering=0) as file:
                try:
                    while file.write(bytes(1 << 16)):
                        pass
                except OSError:
                    size = file.tell() - self.left
                file.truncate(size)

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.losses[runner.iter] = outputs['loss'].item()


def train(cfg, resume=None):
    cfg = Config(dict(cfg, experiment_name=os.urandom(8).hex(),
                      launcher='none'))
    launch.set_resumable(cfg)
    launch.set_resume(cfg, resume)
    launch.run(cfg, lambda runner: runner.train())


@pytest.mark.abuse
def test_run_on_a_disk_that_fills_says_so_and_goes_on(
        disk, tmp_path, capsys):
    base = save_base(tmp_path / 'base.pth')

    def settings(folder, **fill):
        cfg = config(folder, base, by_epoch=False, iters=ITERATIONS,
                     hook=dict(interval=2, max_keep_ckpts=2))
        cfg['default_hooks'].update(
            run_record=dict(type='mona_mm.RunRecordHook'),
            logger=dict(type='LoggerHook', interval=1))
        cfg.update(custom_hooks=[dict(fill, type='FillDisk')],
                   visualizer=dict(type='Visualizer', vis_backends=[
                       dict(type='LocalVisBackend')]),
                   randomness=dict(seed=3))
        return cfg

    train(settings(tmp_path / 'whole'))
    whole = dict(FillDisk.losses)
    outcome = Counter(inputs=0, told=0, finished=0, resumed=0)
    for at in (0, 2, 5):
        for left in (0, 20_000):
            outcome['inputs'] += 1
            FillDisk.losses.clear()
            work_dir = disk / f'{at}-{left}'
            try:
                train(settings(work_dir, place=str(disk), at=at, left=left))
                outcome['finished'] += 1
            except UserError as error:
                assert f'cannot write {work_dir}' in str(error), error
                assert 'No space left' in str(error), error
                outcome['told'] += 1
            (disk / 'ballast').unlink()
            train(settings(work_dir), resume='auto')
            assert FillDisk.losses == whole
            assert not list(work_dir.rglob('*.part'))
            outcome['resumed'] += 1
            subprocess.run(['rm', '-r', str(work_dir)], check=True)
    with capsys.disabled():
        show('full disk', outcome)
    assert outcome['told'] >= outcome['inputs'] / 2
