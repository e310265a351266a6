"""Sweeps: which runs there are, which are left, and what became of them."""
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import TUNERS

from mona_mm.engine.resumable import lock
from mona_mm.errors import ConfigError
from mona_mm.reports.names import parse
from mona_mm.research.shapes import make_shapes
from mona_mm.research.sweep import expand, of_task, write_slurm
from mona_mm.research.sweep.local import _places

VOC = 'configs/retinanet/retinanet_swin-l-mona_1x_voc.py'
QUICK = 'configs/quickstart/swin-nano_shapes.py'


@pytest.fixture(autouse=True)
def _at_home(root, monkeypatch):
    monkeypatch.chdir(root)


def test_all_methods_are_those_of_the_registry_without_variants():
    jobs = expand([VOC], ['all'], [1, 2])
    assert len(jobs) == 2 * len(TUNERS)
    names = {job.tuner or parse(job.config).word for job in jobs}
    assert names == {tuner.lower() for tuner in TUNERS}


def test_own_config_then_file_of_the_folder_then_fragment():
    home = Path(QUICK)
    assert of_task(QUICK, 'mona') == (
        str(home.with_name('swin-nano-mona_shapes.py')), None)
    assert of_task(QUICK, 'full') == (QUICK, None)
    mine = str(home.with_name('swin-nano-mona_shapes.py'))
    assert of_task(mine, 'lora') == (
        QUICK, str(home.parent / 'tuners/lora.py'))
    assert of_task(QUICK, 'mona-k7') == (
        QUICK, str(home.parent / 'tuners/mona-k7.py'))
    assert of_task(QUICK, 'bitfit') == (QUICK, 'bitfit')


def test_method_without_a_config_trains_the_tasks_config_with_its_tuner():
    job, = expand([QUICK], ['bitfit'], [5], work_dir='w')
    assert str(job.folder) == 'w/swin-nano_shapes_bitfit/seed5'
    assert job.command()[2:5] == [
        QUICK, '--tuner=bitfit', f'--work-dir={job.folder}']
    spread, = expand([QUICK], ['bitfit'], gpus=2)
    assert spread.command()[4:7] == [QUICK, '2', '--tuner=bitfit']


def test_jobs_have_folders_and_commands_of_their_own():
    jobs = expand([VOC], ['mona-b32', 'full'], [3, 4], work_dir='w',
                  options=('a.b=1', ), extra=('--amp', ))
    assert [str(j.folder) for j in jobs] == [
        f'w/retinanet_swin-l{m}_1x_voc/seed{s}'
        for m in ('-mona-b32', '') for s in (3, 4)]
    command = jobs[1].command()
    assert command[2] == ('configs/retinanet/'
                          'retinanet_swin-l-mona-b32_1x_voc.py')
    assert command[3:] == [
        '--work-dir=w/retinanet_swin-l-mona-b32_1x_voc/seed4', '--resume',
        '--amp', '--cfg-options', 'randomness.seed=4', 'a.b=1']


def test_several_gpus_start_through_the_distributed_launcher():
    job, = expand([VOC], ['mona'], gpus=4)
    command = job.command()
    assert command[2] == 'bash' and command[3].endswith('dist_train.sh')
    assert command[4:6] == [VOC, '4']


@pytest.mark.parametrize('arguments, told', [
    (dict(tasks=['configs/retinanet/no.py']), 'retinanet_swin-b'),
    (dict(tasks=[VOC], method_names=['nix']),
     "retinanet_swin-l_1x_voc: no method 'nix'"),
    (dict(), 'nothing to run'),
    (dict(tasks=[VOC], seeds=[]), 'nothing to run'),
    (dict(tasks=[VOC], seeds=[1, 1]), 'seed 1 is asked for twice'),
    (dict(tasks=[VOC], configs=[VOC]), 'asked for twice')])
def test_wrong_grid_is_refused_by_name(arguments, told):
    with pytest.raises(ConfigError, match=told):
        expand(**arguments)


def test_state_is_read_from_the_runs_record(tmp_path):
    job, = expand([VOC], ['mona'], work_dir=str(tmp_path))
    assert job.state() == 'new'
    job.folder.mkdir(parents=True)
    path = job.folder / 'run.json'
    for finished, state in ((False, 'unfinished'), (True, 'finished')):
        path.write_text(json.dumps(dict(finished=finished)))
        assert job.state() == state
    path.write_text('{')
    with pytest.raises(ConfigError, match='run.json: not a run record'):
        job.state()


def test_work_dir_of_another_run_is_refused(tmp_path):
    def job(**more):
        return expand([VOC], ['mona'], work_dir=str(tmp_path), **more)[0]
    job().claim()
    job().claim()
    with pytest.raises(ConfigError, match='another --work-dir'):
        job(options=('train_cfg.max_epochs=1', )).claim()


def test_runs_at_a_time_share_the_cores(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 8)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    places = [_places(1, 4).get() for _ in range(4)]
    assert {p['OMP_NUM_THREADS'] for p in places} == {'2'}
    assert _places(1, None).qsize() == 1


def test_run_without_gpus_sees_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert _places(0, None).get()['CUDA_VISIBLE_DEVICES'] == ''


def test_runs_at_a_time_have_gpus_of_their_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,6,7')
    places = _places(2, None)
    assert [places.get()['CUDA_VISIBLE_DEVICES'] for _ in range(2)] == [
        '4,5', '6,7']


def test_job_array_has_one_task_per_unfinished_run(tmp_path):
    jobs = expand([VOC], ['mona', 'full', 'lora'], work_dir=str(tmp_path))
    jobs[1].folder.mkdir(parents=True)
    (jobs[1].folder / 'run.json').write_text('{"finished": true}')
    script = write_slurm(jobs, 'gpu', str(tmp_path), at_once=2)
    text = script.read_text()
    assert '#SBATCH --array=0-1%2\n' in text
    assert '#SBATCH --gres=gpu:1\n#SBATCH --cpus-per-task=5\n' in text
    subprocess.run(['bash', '-n', script], check=True)


def run_member(folder, script, member):
    """What a member of a job array gives to srun."""
    path = folder / 'bin/srun'
    path.parent.mkdir(exist_ok=True)
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    path.chmod(0o755)
    return subprocess.run(
        ['bash', script], capture_output=True, text=True, cwd='/',
        env=dict(os.environ, SLURM_ARRAY_JOB_ID='9',
                 SLURM_ARRAY_TASK_ID=str(member),
                 PATH=f'{path.parent}:{os.environ["PATH"]}'))


def test_array_that_was_submitted_does_not_change_with_the_next_one(tmp_path):
    work = tmp_path / 'of `me`'
    jobs = expand([VOC], ['mona', 'full'], work_dir=str(work))
    first = write_slurm(jobs, 'gpu', str(work))
    copy = tmp_path / 'copy'  # slurm makes one when it is submitted
    copy.write_text(first.read_text())
    (jobs[0].folder / 'run.json').write_text('{"finished": true}')
    again = write_slurm(jobs, 'gpu', str(work))
    for script, member, job in ((copy, 0, 0), (copy, 1, 1), (again, 0, 1)):
        done = run_member(tmp_path, script, member)
        assert done.stdout.splitlines()[-len(jobs[job].command()):] == (
            jobs[job].command())
    none = run_member(tmp_path, again, 1)
    assert none.returncode == 1 and not none.stdout


def test_run_that_another_array_has_begun_is_left_out(tmp_path, capsys):
    jobs = expand([VOC], ['mona', 'full'], work_dir=str(tmp_path))
    with lock.hold(str(jobs[0].folder)):
        script = write_slurm(jobs, 'gpu', str(tmp_path))
        assert 'left out, runs now (process' in capsys.readouterr().out
        assert '--array=0-0\n' in script.read_text()
        with pytest.raises(ConfigError, match=r'finished, or run now \(1\)'):
            write_slurm(jobs[:1], 'gpu', str(tmp_path))


def test_sweep_asks_slurm_for_what_the_command_line_says(
        root, tmp_path, monkeypatch):
    main = runpy.run_path(str(root / 'tools/sweep.py'))['main']
    assert main([
        '--configs', VOC, '--work-dir', str(tmp_path), '--slurm', 'gpu',
        '--gpus', '0', '--cpus', '3', '--time', '30', '--account', 'lab',
        '--slurm-args=--qos=low --mem=3G']) == 0
    text = (tmp_path / 'sweep.sbatch').read_text()
    for line in ('gres=none', 'cpus-per-task=3', 'time=30', 'account=lab',
                 'qos=low', 'mem=3G'):
        assert f'#SBATCH --{line}\n' in text
    with pytest.raises(ConfigError, match='control character'):
        main(['--configs', VOC, '--work-dir', str(tmp_path / 'b'), '--slurm',
              'gpu', '--cfg-options', 'a=1\nb'])


def test_finished_grid_leaves_nothing_for_slurm(tmp_path):
    job, = expand([VOC], ['mona'], work_dir=str(tmp_path))
    job.folder.mkdir(parents=True)
    (job.folder / 'run.json').write_text('{"finished": true}')
    with pytest.raises(ConfigError, match='all 1 runs are finished'):
        write_slurm([job], 'gpu', str(tmp_path))


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Tiny pictures where the quickstart expects them."""
    make_shapes(tmp_path / 'data/shapes', train=2, val=1, per_class=1,
                val_per_class=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(root, *options):
    configs = root / 'configs/quickstart'
    return subprocess.run(
        [sys.executable, str(root / 'tools/sweep.py'), '--tasks',
         str(configs / 'swin-nano_shapes.py'),
         str(configs / 'upernet_swin-nano_shapes.py'), '--methods', 'fixed',
         '--seeds', '5', *options, '--cfg-options', 'train_cfg.max_epochs=1'],
        capture_output=True, text=True, env=dict(
            os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS='1'))


def test_sweep_goes_past_a_failure_lists_it_and_resumes(root, workspace):
    # Segmentation fails: its pictures are elsewhere for a while.
    ade, away = workspace / 'data/shapes/ade', workspace / 'away'
    ade.rename(away)
    first = sweep(root, '--jobs', '2')
    assert first.returncode == 1, first.stderr
    assert '1 finished' in first.stdout and '1 failed' in first.stdout
    assert '- upernet_swin-nano_shapes_fixed seed 5: failed' in first.stdout
    assert 'sweep.log' in first.stdout
    done = workspace / 'work_dirs/sweep/swin-nano_shapes_fixed/seed5/run.json'
    found = json.loads(done.read_text())
    assert found['seed'] == 5 and found['finished']
    assert found['config'] == QUICK
    # Which method it is, is no change.
    assert (found['tuner_option'], found['method']) == ('fixed', 'Fixed')
    assert 'train_cfg.max_epochs=1' in found['changed']
    assert not any('tuner' in change for change in found['changed'])
    away.rename(ade)
    second = sweep(root)
    assert second.returncode == 0, second.stderr
    assert '1 skipped' in second.stdout and '1 finished' in second.stdout
    assert json.loads(done.read_text()) == found
