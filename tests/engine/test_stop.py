"""A run that is asked to stop saves first, and goes on exactly."""
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import runs
import torch

from mona_mm import compat
from mona_mm.checkpoint import read_checkpoint
from mona_mm.engine.resumable import stop as stop_module
from mona_mm.errors import Interrupted


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


class Ask(runs.Hook):
    """Sends this process a signal at one moment of its run."""

    def __init__(self, moment, at, number=signal.SIGTERM) -> None:
        self.at, self.number = at, number
        setattr(self, moment, self.ask)

    def ask(self, runner, *args, **kwargs):
        if runner.iter == self.at:
            os.kill(os.getpid(), self.number)
            time.sleep(0.01)  # Python handles it between two instructions

    def get_triggered_stages(self):
        return ['before_train_iter', 'after_val_iter', 'after_train_epoch']


def stop(cfg, ask):
    runner = runs.start(cfg)
    runner.register_hook(ask)
    with pytest.raises(Interrupted) as stopped:
        runner.train()
    assert stopped.value.code == 85
    return Path(runner.work_dir)


@pytest.fixture(autouse=True)
def _handlers():
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    yield
    for number, handler in zip((signal.SIGTERM, signal.SIGINT), before):
        signal.signal(number, handler)


@pytest.fixture(scope='module')
def whole(base, tmp_path_factory):
    """The run that nobody stopped, and its final weights."""
    folder = tmp_path_factory.mktemp('whole')
    runs.start(config(folder, base)).train()
    return runs.losses(folder), read_checkpoint(
        str(folder / 'epoch_3.pth'))


def config(folder, base, **options):
    return runs.config(folder, base, hook=dict(interval=3), **dict(
        dict(randomness=dict(seed=7),
             custom_hooks=[dict(type='Losses'),
                           dict(type='EMAHook', momentum=0.2)]), **options))


@pytest.mark.parametrize('moment, at, saved, number', [
    ('before_train_iter', 8, 9, signal.SIGTERM),  # within an epoch
    ('before_train_iter', 8, 9, signal.SIGINT),
    ('before_train_iter', 11, 12, signal.SIGTERM),  # its last iteration
    ('after_val_iter', 12, 12, signal.SIGTERM),  # within a validation
    ('after_val_iter', 18, 18, signal.SIGTERM),  # within the last one
])
def test_stopped_run_goes_on_exactly(
        base, whole, tmp_path, moment, at, saved, number):
    cfg = config(tmp_path, base)
    stop(cfg, Ask(moment, at, number))
    path = tmp_path / 'interrupted.pth'
    assert (tmp_path / 'last_checkpoint').read_text() == str(path)
    assert read_checkpoint(str(path))['meta']['iter'] == saved
    runner = runs.start(cfg, 'auto')
    runner.train()
    losses, last = whole
    assert runs.losses(tmp_path) == losses
    if at < 18:
        again = read_checkpoint(str(tmp_path / 'epoch_3.pth'))
        assert not path.exists()  # a regular one has replaced it
        for kind in ('state_dict', 'ema_state_dict'):
            for key, value in last[kind].items():
                assert torch.equal(again[kind][key], value), (kind, key)
    # The validation that was broken off has run.
    assert 'val/accuracy' in runner.message_hub.log_scalars


def test_accumulated_gradients_are_used_first(base, tmp_path):
    cfg = config(tmp_path, base)
    cfg['optim_wrapper']['accumulative_counts'] = 3
    stop(cfg, Ask('before_train_iter', 6))
    assert read_checkpoint(
        str(tmp_path / 'interrupted.pth'))['meta']['iter'] == 9


def test_runs_without_our_checkpoint_hook_are_saved_too(base, tmp_path):
    cfg = config(tmp_path, base)
    cfg['default_hooks']['checkpoint'] = None
    stop(cfg, Ask('before_train_iter', 4))
    assert read_checkpoint(
        str(tmp_path / 'interrupted.pth'))['meta']['iter'] == 5


def test_handlers_are_given_back_after_training(base, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    runs.start(config(tmp_path, base)).train()
    assert signal.getsignal(signal.SIGTERM) == before


class Fail(runs.Hook):
    """An error of the user's own code."""

    def before_train_iter(self, *args, **kwargs):
        raise ValueError('of the user')


def test_handlers_are_given_back_after_an_error(base, tmp_path):
    # Test processes may be started with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        runner = runs.start(config(tmp_path, base))
        runner.register_hook(Fail())
        with pytest.raises(ValueError, match='of the user'):
            runner.train()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_after_a_failed_one_gives_the_first_handlers_back(
        base, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match='of the user'):
        runner = runs.start(config(tmp_path / 'a', base))
        runner.register_hook(Fail())
        runner.train()
    runs.start(config(tmp_path / 'b', base)).train()
    assert signal.getsignal(signal.SIGTERM) == before


class Pools(runs.Right):
    """A metric with a pool of processes, as mmdet's VOC metric has."""

    def compute_metrics(self, results) -> dict:
        with multiprocessing.get_context('fork').Pool(2) as pool:
            pool.map(abs, range(4))
        return super().compute_metrics(results)


def test_processes_forked_in_training_still_end_by_a_signal(base, tmp_path):
    runs.METRICS.register_module(module=Pools, force=True)
    cfg = config(tmp_path, base, val_evaluator=dict(type='Pools'))
    run = multiprocessing.get_context('fork').Process(
        target=lambda: runs.start(cfg).train())
    run.start()
    run.join(300)  # it would wait for ever
    ended, pools = run.exitcode, children(run.pid)
    run.kill()
    for pid in pools if ended is None else ():
        os.kill(pid, signal.SIGKILL)
    assert ended == 0


def children(pid: int) -> list:
    """Process ids; none of a process that is gone, or without /proc."""
    path = Path(f'/proc/{pid}/task/{pid}/children')
    try:
        return [int(word) for word in path.read_text().split()]
    except OSError:
        return []


class ListensInFork(runs.Hook):
    """Forks a child that waits, and ends it as a pool does."""

    def before_train_iter(self, *args, **kwargs):
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, b'.')
            time.sleep(30)
            os._exit(0)
        os.read(read, 1)
        os.kill(child, signal.SIGTERM)
        self.status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_child_forked_in_training_dies_of_a_signal(base, tmp_path):
    runner = runs.start(config(tmp_path, base, iters=1))
    hook = ListensInFork()
    runner.register_hook(hook)
    runner.train()
    assert hook.status == -signal.SIGTERM


class Forks(runs.Hook):
    """Forks a child that waits."""

    def before_train_iter(self, *args, **kwargs):
        child = os.fork()
        if not child:
            time.sleep(30)
            os._exit(0)
        self.status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_signal_before_a_child_has_unlearnt_to_save_ends_it(base, tmp_path):
    """A pool may end a worker that has hardly begun, and waits for it."""
    parent = os.getpid()

    def strike() -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    compat.in_children(strike)  # is called before what training adds
    compat._in_children.sort(key=lambda callback: callback is not strike)
    try:
        runner = runs.start(config(tmp_path, base))
        forks = Forks()
        runner.register_hook(forks)
        runner.train()
    finally:
        compat._in_children.remove(strike)
    assert forks.status == -signal.SIGTERM


class Slow(runs.Hook):
    """Takes an hour over its first iteration, once it has said so."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def before_train_iter(self, *args, **kwargs):
        os.write(self.pipe, b'.')
        time.sleep(3600)


class Clock:
    """Tells a process the time that the test sets, and counts who asks."""

    def __init__(self) -> None:
        self.now = multiprocessing.RawValue('d')
        self.asked = multiprocessing.RawValue('i')

    def monotonic(self) -> float:
        self.asked.value += 1
        return self.now.value


@pytest.mark.parametrize('job', [None, '12'])
def test_second_signal_ends_at_once_but_not_slurms(
        base, tmp_path, monkeypatch, job):
    clock = Clock()
    monkeypatch.setattr(stop_module, 'time', clock)
    monkeypatch.delenv('SLURM_JOB_ID', raising=False)
    if job:
        monkeypatch.setenv('SLURM_JOB_ID', job)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            runner = runs.start(config(tmp_path, base))
            runner.register_hook(Slow(write))
            runner.train()
        finally:
            os._exit(0)
    os.read(read, 1)
    # slurm repeats SIGTERM, and kills if it means that
    first, last = signal.SIGINT, signal.SIGTERM
    if job:
        first, last = last, first
    # A launcher's echo of the first, and slurm's repetition.
    for now in (0, stop_module._ECHO, *[stop_module._ECHO + 1] * bool(job)):
        clock.now.value, heard = now, clock.asked.value
        os.kill(child, first)
        while clock.asked.value == heard:
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
            time.sleep(0.01)
    clock.now.value = stop_module._ECHO + 1
    os.kill(child, last)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == -last
    assert not (tmp_path / 'interrupted.pth').exists()


@pytest.mark.skipif(not Path('/proc/self/task').is_dir(),
                    reason='finds the workers in /proc')
def test_a_killed_worker_of_a_loader_ends_the_run_with_an_error(
        base, tmp_path):
    workers = dict(num_workers=2, persistent_workers=True)
    cfg = config(tmp_path, base, hooks=(dict(type='Losses'), ))
    cfg['train_dataloader'].update(
        workers, dataset=dict(type='NoisyPictures', size=10_000))
    run = multiprocessing.get_context('fork').Process(
        target=lambda: runs.start(cfg).train())
    run.start()
    limit = time.monotonic() + 300
    while not (tmp_path / 'losses.txt').exists():  # it trains
        assert time.monotonic() < limit and run.is_alive()
        time.sleep(0.1)
    started = children(run.pid)
    os.kill(started[0], signal.SIGKILL)
    run.join(300)
    ended = run.exitcode
    for pid in started if ended is None else ():
        os.kill(pid, signal.SIGKILL)
    run.kill()
    assert len(started) == 2 and ended == 1
