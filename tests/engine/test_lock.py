"""One training at a time in a work dir."""
import json
import multiprocessing
import os
import threading
import time

import pytest

from mona_mm.engine.resumable import lock
from mona_mm.errors import ConfigError


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    for name in [n for n in os.environ if n.startswith('SLURM')]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(lock, '_SETTLE', 0.01)


def leave(folder, age=0., **changed):
    """A lock that another run has left, or holds."""
    path = folder / lock.LOCK
    path.write_text(json.dumps(dict(lock._describe(), **changed)))
    os.utime(path, (time.time() - age, ) * 2)
    return path


def _hold(folder, pipe, changed) -> None:
    """Hold a lock in a process of its own, until told to end."""
    for name, value in changed.items():
        setattr(lock, name, value)
    try:
        with lock.hold(str(folder)):
            pipe.send('in')
            pipe.recv()
    except ConfigError as error:
        pipe.send(str(error))


@pytest.fixture
def fork():
    """Start processes that hold a lock; killed at the end."""
    context, started = multiprocessing.get_context('fork'), []

    def start(folder, **changed):
        here, there = context.Pipe()
        child = context.Process(target=_hold, args=(folder, there, changed))
        child.start()
        started.append(child)
        return child, here
    yield start
    for child in started:
        child.kill()
        child.join()


ELSEWHERE = dict(machine='another boot', host='far', pid='77',
                 since='2026-01-02 03:04:05+00:00')


def test_second_run_is_told_who_is_there_since_when(
        tmp_path, fork, monkeypatch):
    monkeypatch.setenv('SLURM_JOB_ID', '12')
    first, pipe = fork(tmp_path)
    assert pipe.recv() == 'in'
    since = json.loads((tmp_path / lock.LOCK).read_text())['since']
    with pytest.raises(ConfigError) as error:
        with lock.hold(str(tmp_path)):
            raise AssertionError('two runs at once')
    for told in (f'process {first.pid} on ', 'slurm job 12,', since,
                 '--work-dir'):
        assert told in str(error.value)
    assert lock.user_of(tmp_path).startswith(f'process {first.pid} on ')
    first.kill()  # leaves the lock behind
    first.join()
    assert lock.user_of(tmp_path) is None
    with lock.hold(str(tmp_path)):
        assert json.loads((tmp_path / lock.LOCK).read_text())['pid'] == str(
            os.getpid())
    assert not list(tmp_path.iterdir())


def test_lock_of_a_number_that_another_process_has_now_is_stale(tmp_path):
    leave(tmp_path, birth='1')
    with lock.hold(str(tmp_path)):
        held = json.loads((tmp_path / lock.LOCK).read_text())
    assert held['pid'] == str(os.getpid()) and held['birth'] != '1'


def test_take_over_is_said_in_one_line(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(lock, 'print_log',
                        lambda line, **_: said.append(line))
    leave(tmp_path, pid='999999999')
    with lock.hold(str(tmp_path)):
        pass
    line, = said
    assert 'taken over from process 999999999' in line
    assert 'that process is gone' in line and '\n' not in line


def test_run_that_ended_in_any_way_leaves_nothing(tmp_path):
    for error in (ValueError, SystemExit, KeyboardInterrupt):
        with pytest.raises(error):
            with lock.hold(str(tmp_path / 'new')):
                raise error
        assert not list((tmp_path / 'new').iterdir())


def test_other_processes_of_the_run_share_it(tmp_path, monkeypatch):
    with lock.hold(str(tmp_path)):
        monkeypatch.setenv('RANK', '1')
        with lock.hold(str(tmp_path)):
            pass
        assert (tmp_path / lock.LOCK).exists()


def test_holder_elsewhere_that_gives_signs_of_life_is_respected(
        tmp_path, monkeypatch):
    monkeypatch.setattr(lock, 'SILENT', 60)
    path, ended = leave(tmp_path, 30, **ELSEWHERE), threading.Event()

    def live():
        while not ended.wait(0.3):
            os.utime(path)
    thread = threading.Thread(target=live)
    thread.start()
    with pytest.raises(ConfigError, match='process 77 on far, started 2026-0'):
        with lock.hold(str(tmp_path)):
            pass
    ended.set()
    thread.join()
    assert lock.user_of(tmp_path)


@pytest.mark.parametrize('content', [ELSEWHERE, None])
def test_holder_elsewhere_that_gives_none_is_taken_for_gone(
        tmp_path, monkeypatch, content):
    monkeypatch.setattr(lock, 'SILENT', 1.5)
    path = leave(tmp_path, **(content or {}))
    if content is None:  # killed between making the file and writing it
        path.write_text('')
    begun = time.monotonic()
    with lock.hold(str(tmp_path)):
        assert time.monotonic() - begun > 1
    os.utime(leave(tmp_path, **ELSEWHERE), (1, 1))
    assert lock.user_of(tmp_path) is None
    slept = []
    monkeypatch.setattr(time, 'sleep', slept.append)
    with lock.hold(str(tmp_path)):  # its silence is long enough already
        assert slept == [lock._SETTLE]


JOB = dict(ELSEWHERE, cluster='c', job='12', step='0', restart='0')


@pytest.mark.parametrize('squeue, mine, refused', [
    ('echo 12.batch 12.0', '13', True),
    ('echo 12.batch', '13', False),  # the step has ended
    ('true', '13', False),
    ('echo slurm_load_jobs error: Invalid job id specified >&2; exit 1', '13',
     False),
    ('echo 12.0', '12', False),  # this very job, requeued
])
def test_slurm_knows_whether_a_holders_job_runs(
        tmp_path, monkeypatch, squeue, mine, refused):
    command = tmp_path / 'bin/squeue'
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\n{squeue}\n')
    command.chmod(0o755)
    for name, value in dict(
            PATH=f'{command.parent}:{os.environ["PATH"]}',
            SLURM_CLUSTER_NAME='c', SLURM_JOB_ID=mine, SLURM_STEP_ID='0',
            SLURM_RESTART_COUNT='1').items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / 'work'
    folder.mkdir()
    leave(folder, **JOB)
    if refused:
        with pytest.raises(ConfigError, match='slurm job 12, started'):
            with lock.hold(str(folder)):
                pass
    else:
        with lock.hold(str(folder)):
            pass


def test_slurm_that_does_not_answer_decides_nothing(tmp_path, monkeypatch):
    own = dict(lock._describe(), cluster='c')
    command = tmp_path / 'squeue'
    command.write_text('#!/bin/sh\necho Unable to contact >&2\nexit 1\n')
    command.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    assert lock._judge(dict(own, **JOB), own) == (False, None)


def test_member_of_an_array_is_called_by_its_own_name(monkeypatch):
    for name, value in dict(SLURM_JOB_ID='7', SLURM_ARRAY_JOB_ID='7',
                            SLURM_ARRAY_TASK_ID='3').items():
        monkeypatch.setenv(name, value)
    assert lock._describe()['job'] == '7_3'


def test_of_many_that_find_a_stale_lock_one_takes_it(tmp_path, fork):
    leave(tmp_path, pid='999999999')
    pipes = [fork(tmp_path, _SETTLE=2.)[1] for _ in range(8)]
    told = [pipe.recv() for pipe in pipes]
    assert sorted(text == 'in' for text in told) == [False] * 7 + [True], told


def test_signs_of_life_are_given_and_a_lost_lock_ends_the_run(
        tmp_path, fork, capfd):
    child, pipe = fork(tmp_path, BEAT=0.1)
    assert pipe.recv() == 'in'
    path = tmp_path / lock.LOCK
    os.utime(path, (1, 1))
    end = time.monotonic() + 120
    while path.stat().st_mtime < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    path.unlink()  # by hand: it is put back
    while not path.is_file() or not path.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    leave(tmp_path, **ELSEWHERE)
    child.join(120)
    assert child.exitcode == 1
    assert 'process 77 on far' in capfd.readouterr().err
    assert path.exists()  # the other's
