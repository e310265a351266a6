"""Two processes save, stop, go on and fail together."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import runs
from forked import fork_two, free_port
from mmengine.config import Config

from mona_mm.checkpoint import read_checkpoint


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


def config(folder, base, **hook) -> dict:
    """18 iterations of two processes with random generators of their own."""
    folder.mkdir(exist_ok=True)
    cfg = runs.config(
        folder, base, by_epoch=False, hook=dict(interval=2),
        randomness=dict(seed=7, diff_rank_seed=True),
        custom_imports=dict(imports=['runs']),
        custom_hooks=[dict(type='RankLosses'), dict(type='Pids', **hook)])
    cfg['train_dataloader']['dataset']['size'] = 24
    return cfg


def start(root, cfg, *words):
    """Start ``dist_train.sh`` with two processes; return the process."""
    folder = Path(cfg['work_dir'])
    Config(cfg).dump(folder / 'config.py')
    env = dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1',
               PYTHONPATH=str(root / 'tests'))
    return subprocess.Popen(
        ['bash', root / 'tools/dist_train.sh', folder / 'config.py', '2',
         *words], env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)


def start_nodes(root, cfg, *words):
    """Start ``dist_train.sh`` as on two machines, a process on each."""
    folder = Path(cfg['work_dir'])
    Config(cfg).dump(folder / 'config.py')
    env = dict(os.environ, PYTHON=sys.executable, PORT=str(free_port()),
               OMP_NUM_THREADS='1', PYTHONPATH=str(root / 'tests'),
               NNODES='2', MASTER_ADDR='127.0.0.1')
    return [subprocess.Popen(
        ['bash', root / 'tools/dist_train.sh', folder / 'config.py', '1',
         *words], env=dict(env, NODE_RANK=rank), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True) for rank in '01']


def read_until(process, pattern) -> str:
    text = ''
    for line in process.stdout:
        text += line
        if re.search(pattern, line):
            return text
    raise AssertionError(f'{pattern} never came:\n{text[-3000:]}')


def losses(folder, rank):
    lines = (folder / f'losses{rank}.txt').read_text().splitlines()
    return {int(i): float(v) for i, v in map(str.split, lines)}


def test_two_processes_stop_together_and_go_on_exactly(base, tmp_path):
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    assert fork_two(config(whole, base)) == [0, 0]
    # One process alone is asked.
    assert fork_two(config(stopped, base, at=5, number=15)) == [85, 85]
    at = read_checkpoint(str(stopped / 'interrupted.pth'))['meta']['iter']
    assert 5 < at < 9
    for rank in (0, 1):
        assert max(losses(stopped, rank)) + 1 == at
    assert fork_two(config(stopped, base), 'auto') == [0, 0]
    for rank in (0, 1):  # the generators of each are its own
        assert losses(stopped, rank) == losses(whole, rank)
    assert losses(whole, 0) != losses(whole, 1)


def test_script_says_that_it_was_stopped_and_does_not_hang_on_a_death(
        root, base, tmp_path):
    # A second each: there is time before it ends on its own.
    cfg = config(tmp_path, base, at=5, seconds=1.)
    process = start(root, cfg)
    found = read_until(process, 'process of rank 1: ')
    process.send_signal(signal.SIGTERM)  # the launcher passes it on
    output = found + process.communicate(timeout=300)[0]
    assert process.returncode == 85, output[-3000:]
    saved = read_checkpoint(str(tmp_path / 'interrupted.pth'))['meta']['iter']
    assert 5 < saved < 12
    cfg = config(tmp_path, base, at=12, seconds=600.)  # killed in it
    process = start(root, cfg, '--resume')
    found = read_until(process, 'process of rank 1: ')
    assert found.count('--resume') == 1  # said once
    os.kill(int(found.split('process of rank 1: ')[1].split()[0]),
            signal.SIGKILL)
    process.communicate(timeout=300)
    assert process.returncode not in (0, 85)
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_12.pth')


@pytest.mark.slow
@pytest.mark.parametrize('asked', [0, 1])
def test_both_nodes_save_when_one_is_asked(root, base, tmp_path, asked):
    nodes = start_nodes(root, config(tmp_path, base, at=5, seconds=1.))
    read_until(nodes[1], 'process of rank 1: ')
    nodes[asked].send_signal(signal.SIGTERM)
    told = [node.communicate(timeout=120)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [85, 85], told
    saved = read_checkpoint(str(tmp_path / 'interrupted.pth'))['meta']['iter']
    assert 5 < saved < 18


@pytest.mark.slow
@pytest.mark.parametrize('dead', [0, 1])
def test_other_node_ends_with_an_error_when_one_dies(
        root, base, tmp_path, dead):
    nodes = start_nodes(root, config(tmp_path, base, at=5, seconds=1.))
    found = read_until(nodes[1], 'process of rank 1: ')
    worker = int(found.split('process of rank 1: ')[1].split()[0])
    begun = time.monotonic()
    if dead == 1:
        os.kill(worker, signal.SIGKILL)
    else:  # its training is in a session of its own
        for child in Path(f'/proc/{nodes[0].pid}/task/{nodes[0].pid}/children'
                          ).read_text().split():
            os.kill(int(child), signal.SIGKILL)
    nodes[dead].kill()
    other = nodes[1 - dead]
    told = other.communicate(timeout=120)[0]
    assert other.returncode not in (0, 85), told
    assert time.monotonic() - begun < 60
