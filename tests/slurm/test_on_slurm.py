"""Trainings on a real slurm: several at once, stopped, pre-empted, doubled.

``MONA_MM_PREEMPTIONS`` says how often one training is pre-empted (1).
"""
import os
import sys
import time
from functools import partial

import phases
import pytest
import torch
from one_machine import submitted, until

from mona_mm.engine.cluster import Request, write_script

pytestmark = pytest.mark.slurm
TRAIN = 'bash {root}/tools/slurm_train.sh'
TIMES = int(os.environ.get('MONA_MM_PREEMPTIONS', 1))


@pytest.fixture(scope='module')
def place(cluster, tmp_path_factory):
    """A folder with the config, whose name has a blank."""
    folder = tmp_path_factory.mktemp('a place')
    phases.write_config(folder)
    return folder


@pytest.fixture
def submit(cluster, root, place, monkeypatch):
    """Submit a training; return the job and its work dir.

    By the script that slurm_train.sh --requeue writes, without the seconds
    that it takes to read the config.
    """
    monkeypatch.chdir(place)

    def now(partition, name, config='tiny.py', tasks=1, *options):
        path = place / name / 'train.sbatch'
        write_script(
            path, Request(partition, name, tasks, tasks, tasks, cpus=1,
                          options=options),
            [[sys.executable, '-u', str(root / 'tools/train.py'), config,
              '--work-dir', name, '--resume', '--launcher', 'slurm']])
        return submitted(cluster.run(f'sbatch "{path}"')), path.parent
    return now


@pytest.fixture(scope='module')
def whole(cluster, root, place):
    """The work dir of a training that nobody disturbed."""
    told = cluster.run(
        f'{TRAIN.format(root=root)} --requeue gpu whole tiny.py --work-dir '
        'whole', cwd=place, GPUS='1')
    cluster.wait(submitted(told))
    assert phases.steps(place / 'whole') == list(range(phases.ITERATIONS))
    return place / 'whole'


def check_same(folder, whole):
    """The end is that of the undisturbed training; no step was lost."""
    assert sorted(set(phases.steps(folder))) == list(range(phases.ITERATIONS))
    again = phases.weights(folder)
    for key, value in phases.weights(whole).items():
        assert torch.equal(again[key], value), key
    assert not (folder / 'run.lock').exists()


def in_phase(folder, phase, more_than=-1):
    told = folder / 'phase0'
    return (told.is_file() and told.read_text() == phase
            and len(phases.steps(folder)) > more_than)


def test_two_jobs_of_one_gpu_share_a_node(submit, cluster, whole):
    jobs = [submit('one', name, 'tiny.py', 1, '--hold')
            for name in ('first', 'second')]
    cluster.run(f'scontrol release {jobs[0][0]},{jobs[1][0]}')
    until(lambda: all(in_phase(folder, 'train') for _, folder in jobs), 200,
          'both to train')
    for job, folder in jobs:
        cluster.wait(job)
        check_same(folder, whole)


def test_two_nodes_train_one_model(cluster, root, place):
    """In the foreground; the address follows from the job alone."""
    told = cluster.run(
        f'{TRAIN.format(root=root)} gpu nodes tiny.py --work-dir nodes',
        cwd=place, GPUS='2', GPUS_PER_NODE='1', SRUN_ARGS='--label')
    for rank in (0, 1):
        assert phases.steps(place / 'nodes', rank) == list(range(9)), told


def test_preempted_training_ends_as_if_it_had_not_been(
        submit, cluster, place, whole):
    """Without a grace time, and with 60 s, at once."""
    phases.write_config(place, 'long.py', seconds=0.5 * max(TIMES, 2))
    jobs = {node: submit(partition, f'preempted-{partition}', 'long.py')
            for node, partition in (('node1', 'low'), ('node2', 'low0'))}
    for time_ in range(TIMES):
        others = []
        for node, (_, folder) in jobs.items():
            until(partial(in_phase, folder, 'train'), 200, 'training')
            others.append(submitted(cluster.run(
                f'sbatch --partition=high --nodelist={node} --exclusive '
                '--output=/dev/null --wrap "sleep 1"')))
        for other, (job, folder) in zip(others, jobs.values()):
            cluster.wait(other, ['RUNNING', 'COMPLETED'])
            (folder / 'phase0').unlink()  # of the session that has ended
            cluster.wait(other)
            cluster.wait(job, ['RUNNING', 'COMPLETED'])
            assert int(cluster.field(job, 'Restarts')) == time_ + 1
    for job, folder in jobs.values():
        cluster.wait(job)
        check_same(folder, whole)


def test_training_that_gets_term_saves_and_goes_on(
        submit, cluster, place, whole):
    """Sent to the step, or to the batch shell alone; all at once."""
    phases.write_config(place, 'slower.py', seconds=0.6)
    waiting = {
        (phase, whom): submit('gpu', f'term-{phase}{whom}', 'slower.py')
        for phase, whom in (
            ('start', ''), ('start', '--batch'), ('train', '--batch'),
            ('save', ''), ('validate', '--batch'))}
    jobs, since = dict(waiting), {}

    def all_are_asked() -> bool:
        for (phase, whom), (job, folder) in list(waiting.items()):
            if phase != 'start':
                there = in_phase(folder, phase)
            elif cluster.state(job) == 'RUNNING':
                begun = since.setdefault(job, time.monotonic())
                there = time.monotonic() - begun > 3
                assert not (folder / 'phase0').exists()
            else:
                there = False
            if there:
                cluster.run(f'scancel {whom} --signal=TERM {job}')
                del waiting[phase, whom]
        return not waiting

    until(all_are_asked, 400, 'every phase')
    for job, folder in jobs.values():
        cluster.wait(job)
        assert cluster.field(job, 'Restarts') == '1', cluster.log(job)
        check_same(folder, whole)
        assert 'back into the queue' in cluster.log(job)


def test_cancelled_training_has_saved_and_stays_cancelled(
        submit, cluster, whole, place):
    job, folder = submit('gpu', 'cancelled')
    until(lambda: in_phase(folder, 'train'), 200, 'a step')
    cluster.run(f'scancel {job}')
    cluster.wait(job, ['CANCELLED'])
    cluster.wait_for_all()
    assert (folder / 'interrupted.pth').is_file()
    assert cluster.state(job) == 'CANCELLED'
    again = submitted(cluster.run('sbatch cancelled/train.sbatch', cwd=place))
    cluster.wait(again)
    check_same(folder, whole)


def test_failure_of_one_process_is_no_reason_to_go_on(
        submit, cluster, place):
    phases.write_config(place, 'fails.py', fail=1, seconds=1)
    job, folder = submit('gpu', 'fails', 'fails.py', 2)
    cluster.wait(job, ['FAILED'])
    assert cluster.field(job, 'Restarts') == '0'
    assert cluster.field(job, 'ExitCode') == '1:0', cluster.log(job)
    # Before the processes know of each other, too.
    cut = place / 'cut.py'
    cut.write_text(
        "import os, time\nif os.environ['SLURM_PROCID'] == '1':\n"
        "    raise SystemExit(3)\ntime.sleep(60)\n")
    script = (folder / 'train.sbatch').read_text()
    start = script.index('command=(')
    (place / 'cut.sbatch').write_text(
        script[:start] + "command=(python cut.py)\n" +
        script[script.index('\n', start):])
    job = submitted(cluster.run('sbatch cut.sbatch', cwd=place))
    cluster.wait(job, ['FAILED'])
    assert cluster.field(job, 'ExitCode') == '3:0'


def test_second_job_in_a_work_dir_is_refused_and_told_whose_it_is(
        submit, cluster, place, whole):
    phases.write_config(place, 'slow.py', seconds=1.5)
    jobs = [submit('gpu', 'doubled', 'slow.py', 1, '--hold')[0]
            for _ in range(2)]
    cluster.run(f'scontrol release {",".join(jobs)}')
    for job in jobs:
        cluster.wait(job, ['COMPLETED', 'FAILED'])
    good, bad = sorted(jobs, key=cluster.state)
    assert (cluster.state(good), cluster.state(bad)) == (
        'COMPLETED', 'FAILED')
    told = cluster.log(bad)
    assert 'is in use by process ' in told and f'slurm job {good},' in told
    assert phases.steps(place / 'doubled') == list(range(phases.ITERATIONS))


def test_sweep_given_again_while_members_wait_loses_none_and_runs_none_twice(
        cluster, root, place):
    """Two configs, two seeds; one fails until a file is there."""
    phases.write_config(place, 'good.py', seconds=1)
    phases.write_config(place, 'bad.py', until='mended')
    command = (
        f'python {root}/tools/sweep.py --configs good.py bad.py --seeds 0 1 '
        '--work-dir "of sweeps" --slurm one --jobs 2 --cpus 1')

    def array():
        cluster.run(command, cwd=place)
        return submitted(cluster.run('sbatch of*sweeps/sweep.sbatch',
                                     cwd=place))

    first = array()
    second = array()
    cluster.wait_for_all()
    folders = {(name, seed): place / 'of sweeps' / name / f'seed{seed}'
               for name in ('good', 'bad') for seed in (0, 1)}
    bad = folders.pop(('bad', 1))
    assert phases.steps(bad) == []
    for folder in folders.values():
        assert phases.steps(folder) == list(range(phases.ITERATIONS))
    assert cluster.state(f'{first}_3') == 'FAILED'
    (place / 'mended').touch()
    third = array()
    assert third not in (first, second)
    cluster.wait(f'{third}_0')
    assert '--array=0-0' in (
        place / 'of sweeps/sweep.sbatch').read_text()
    for folder in (*folders.values(), bad):
        assert phases.steps(folder) == list(range(phases.ITERATIONS))


def test_more_than_any_node_has_is_refused_before_the_queue(cluster, root):
    told = cluster.run(
        f'{TRAIN.format(root=root)} gpu big tiny.py', check=False, GPUS='8')
    assert 'slurm refuses' in told and 'GPUS_PER_NODE' in told
    assert not cluster.run('squeue -h --name=big')
