"""What is refused writes nothing, and what goes on keeps what was there."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import runs
import torch
from helpers import new_name
from mmengine.config import Config
from paths import ROOT

from mona_mm import starting
from mona_mm.engine import fit, launch, preflight
from mona_mm.engine.runner import EARLIER
from mona_mm.errors import CheckpointError, ConfigError


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


def config(folder, base, **extra) -> dict:
    cfg = runs.config(folder / 'work', base, hook=dict(interval=3), **extra)
    cfg['default_hooks']['delta'] = dict(type='mona_mm.DeltaCheckpointHook')
    return cfg


def train(cfg: dict, resume=None, new_schedule=False):
    """As tools/train.py does, from a config file."""
    folder = Path(cfg['work_dir']).parent
    Config(cfg).dump(folder / 'mine.py')
    cfg = Config.fromfile(folder / 'mine.py')
    cfg.launcher = 'none'
    if 'experiment_name' not in cfg:
        cfg.experiment_name = new_name(folder.name)
    launch.set_resumable(cfg)
    launch.set_resume(cfg, resume, new_schedule)
    preflight.check_start(cfg)
    return launch.run(cfg, lambda runner: runner.train() and runner)


def tree(folder) -> dict:
    """Everything in a folder, with content and time."""
    return {p.relative_to(folder): p.is_file() and (
        p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob('*')}


@pytest.fixture(scope='module')
def run(base, tmp_path_factory):
    """A finished run of LoRA."""
    folder = tmp_path_factory.mktemp('run')
    train(config(folder, base))
    return folder


def change(cfg, key, value):
    *path, last = key.split('.')
    for part in path:
        cfg = cfg[part]
    cfg[last] = value


@pytest.mark.parametrize('key, value, told', [
    ('model.backbone.tuner', dict(type='Mona'),
     "tuner.type is 'LoRA'.*--tuner lora"),
    ('model.backbone.tuner', dict(type='LoRA', rank=3),
     'model.backbone.tuner.rank='),
    ('model.backbone.out_indices', (0, ), 'model.backbone.out_indices='),
    ('model.backbone.drop_path_rate', 0.9, 'model.backbone.drop_path_rate'),
    ('optim_wrapper.paramwise_cfg', dict(delta_lr_mult=2.),
     'optimizer groups'),
])
def test_refused_resume_leaves_the_work_dir_as_it_is(
        run, base, key, value, told):
    before = tree(run / 'work')
    assert Path('mine.py') in before
    cfg = config(run, base)
    change(cfg, key, value)
    for resume in ('auto', str(run / 'work/epoch_3.pth')):
        with pytest.raises(CheckpointError, match=told):
            train(cfg, resume)
    assert tree(run / 'work') == before


def test_base_that_is_nowhere_is_refused_before_anything_is_written(
        run, base, tmp_path):
    before = tree(run / 'work')
    os.rename(base, tmp_path / 'away.pth')
    try:
        with pytest.raises(CheckpointError, match='needs the frozen base'):
            train(config(run, base), 'auto')
    finally:
        os.rename(tmp_path / 'away.pth', base)
    assert tree(run / 'work') == before


def test_refusal_after_loading_leaves_the_config_as_it_is(
        run, base, tmp_path):
    kept = (run / 'work/mine.py').read_bytes()
    state = torch.load(base)
    state['stages.0.blocks.0.norm1.weight'] += 1
    torch.save(state, tmp_path / 'other.pth')
    os.rename(base, tmp_path / 'away.pth')
    os.rename(tmp_path / 'other.pth', base)  # another one under its name
    try:
        with pytest.raises(CheckpointError, match='another base|other weig'):
            train(config(run, base), 'auto')
    finally:
        os.rename(tmp_path / 'away.pth', base)
    assert (run / 'work/mine.py').read_bytes() == kept


def test_refused_test_writes_nothing(run, base):
    before = tree(run / 'work')
    cfg = Config(config(run, base, tuner='Mona'))
    with pytest.raises(CheckpointError, match='--tuner lora'):
        fit.check_for_test(cfg, str(run / 'work/epoch_3.pth'))
    assert tree(run / 'work') == before


def lines(path):
    return path.read_text().splitlines()


def test_run_that_goes_on_keeps_the_config_before_it(base, tmp_path):
    train(config(tmp_path, base))
    first = lines(tmp_path / 'work/mine.py')
    cfg = config(tmp_path, base)
    cfg['train_cfg']['max_epochs'] = 4
    train(cfg, 'auto')
    (kept, ) = (tmp_path / 'work' / EARLIER).iterdir()
    assert lines(kept) == first and kept.name.startswith('mine_until_')
    assert Config.fromfile(tmp_path / 'work/mine.py').train_cfg.max_epochs == 4


def test_same_config_again_is_not_kept_twice(base, tmp_path):
    cfg = config(tmp_path, base, experiment_name='same')
    train(cfg)
    time.sleep(1.1)  # a time stamp of its own
    train(cfg)
    assert not (tmp_path / 'work' / EARLIER).exists()


def test_testing_leaves_the_config_of_the_training_alone(run, base):
    before = (run / 'work/mine.py').read_bytes()
    cfg = Config.fromfile(run / 'mine.py')
    cfg.merge_from_dict(dict(
        launcher='none', load_from=str(run / 'work/epoch_3.pth'),
        experiment_name='tested', test_cfg=dict(),
        test_dataloader=cfg.val_dataloader, test_evaluator=cfg.val_evaluator))
    where = launch.run(cfg, lambda runner: runner.test() and runner.log_dir)
    assert (run / 'work/mine.py').read_bytes() == before
    assert 'load_from' in Path(where, 'mine.py').read_text()


def rates(folder):
    """The learning rate after every epoch."""
    return {
        int(p.stem.split('_')[1]): torch.load(
            p, weights_only=False)['optimizer']['param_groups'][0]['lr']
        for p in folder.glob('work/epoch_*.pth')}


def scheduled(folder, base, epochs):
    """Three warm-up steps, and a cosine over all epochs (of 6 steps)."""
    cfg = config(folder, base, param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=3),
        dict(type='CosineAnnealingLR', T_max=epochs, end=epochs),
        dict(type='MultiStepLR', milestones=[2], gamma=0.5)])
    cfg['train_cfg'].update(max_epochs=epochs, val_interval=100)
    cfg['default_hooks']['checkpoint']['interval'] = 1
    return cfg


def test_longer_run_follows_the_schedule_that_its_user_means(base, tmp_path):
    folders = [tmp_path / name for name in ('whole', 'stays', 'renewed')]
    for folder in folders:
        folder.mkdir()
    whole, stays, renewed = folders
    train(scheduled(whole, base, 5))
    train(scheduled(stays, base, 3))
    for path in stays.glob('work/epoch_3.pth'):
        (renewed / 'epoch_3.pth').write_bytes(path.read_bytes())
    runner = train(scheduled(stays, base, 5), 'auto')
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert 'was planned for 3 epochs and goes on to 5' in log
    assert '--new-schedule' in log and 'load_from=' in log
    assert rates(stays)[5] == rates(stays)[3] != rates(whole)[3]
    train(scheduled(renewed, base, 5), str(renewed / 'epoch_3.pth'),
          new_schedule=True)
    for epoch in (4, 5):
        assert rates(renewed)[epoch] == pytest.approx(
            rates(whole)[epoch], rel=1e-9)


def test_resumed_run_of_the_same_length_is_not_warned(base, tmp_path):
    train(scheduled(tmp_path, base, 2))
    os.remove(tmp_path / 'work/epoch_2.pth')
    runner = train(scheduled(tmp_path, base, 2), 'auto')
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert 'schedule' not in log


def test_new_schedule_without_resume_is_refused():
    with pytest.raises(ConfigError, match='needs --resume'):
        launch.set_resume(Config(dict()), None, new_schedule=True)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize('told', ['', 'told'])
def test_signal_while_the_libraries_are_imported_ends_with_85(
        tmp_path, number, told):
    process = subprocess.Popen(
        [sys.executable, ROOT / 'tools/train.py', 'configs/nowhere.py'],
        env=dict(os.environ, MONA_MM_STOPPED=told and str(tmp_path / told),
                 RANK='3'),
        stderr=subprocess.PIPE, text=True)
    while not listens(process.pid, number):
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(number)
    assert process.wait(20) == 85
    assert 'nothing to save yet' in process.stderr.read()
    if told:  # what tools/torchrun.py reads
        assert (tmp_path / told).read_text() == '3\n'


def listens(pid, number) -> bool:
    """Whether a process has a handler for a signal (SigCgt of proc(5))."""
    status = Path(f'/proc/{pid}/status').read_text()
    mask = int(status.split('SigCgt:')[1].split()[0], 16)
    # Python itself has one for SIGINT: wait for both.
    return bool(mask >> (signal.SIGTERM - 1) & 1)


def test_signals_are_training_s_own_once_it_runs(base, tmp_path):
    before = {n: signal.getsignal(n) for n in starting._SIGNALS}
    seen = {}

    class Look(runs.Hook):
        def before_train_iter(self, runner, *args, **kwargs):
            seen.update({n: signal.getsignal(n) for n in before})

    try:
        for survives in (True, False):
            for number in before:
                signal.signal(number, starting._stop)
            (tmp_path / f'{survives}').mkdir()
            cfg = config(tmp_path / f'{survives}', base, iters=1)
            if not survives:  # a config without our hook: as mmengine
                del cfg['default_hooks']['stop']
            cfg['val_cfg'] = cfg['val_dataloader'] = None
            cfg['val_evaluator'] = None
            cfg['train_cfg'].pop('val_interval')
            cfg = Config(dict(cfg, experiment_name=f'signals{survives}',
                              launcher='none'))
            launch.set_resumable(cfg)

            def job(runner):
                runner.register_hook(Look())
                runner.train()

            launch.run(cfg, job)
            usual = [signal.SIG_DFL, signal.default_int_handler]
            assert ([seen[n].__name__ for n in before] == ['_hear'] * 2
                    if survives else list(seen.values()) == usual)
            assert [signal.getsignal(n) for n in before] == usual
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
