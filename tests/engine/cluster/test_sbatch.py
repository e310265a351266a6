"""The script for sbatch, run with commands that stand in for slurm's."""
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mona_mm.engine.cluster import Request, write_script
from mona_mm.errors import ConfigError

#: What stands in for slurm: the step is a process of this machine.
SLURM = dict(
    srun='while [ "${1#--}" != "$1" ]; do shift; done; '
    'echo $$ > {at}/step; exec setsid "$@"',
    squeue='case "$*" in *--steps*) [ -f {at}/step ] && echo 9.0 ;; '
    '*) cat {at}/state ;; esac',
    scancel='echo "$@" >> {at}/asked; kill -TERM -- "-$(cat {at}/step)"',
    scontrol='echo "$@" >> {at}/asked')


@pytest.fixture
def at(tmp_path):
    """A folder with the stand-ins, whose name a shell would take apart."""
    folder = tmp_path / 'a `b` $(c) \'d\' 100%'
    (folder / 'bin').mkdir(parents=True)
    for name, body in SLURM.items():
        path = folder / 'bin' / name
        path.write_text(f'#!/bin/bash\n{body}\n'.replace(
            '{at}', '"$(dirname "$0")/.."'))
        path.chmod(0o755)
    (folder / 'state').write_text('RUNNING\n')
    return folder


def start(at, *commands, array=None, **env):
    write_script(at / 'job.sbatch', Request('gpu', 'a name'), commands, array)
    return subprocess.Popen(
        ['bash', at / 'job.sbatch'], stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, env={**os.environ, **dict(dict(
            SLURM_JOB_ID='9',
            PATH=f'{at / "bin"}:{os.environ["PATH"]}'), **env)})


def asked(at):
    path = at / 'asked'
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize('status, state, ends, requeued', [
    (0, 'RUNNING', 0, False), (1, 'RUNNING', 1, False),
    (84, 'RUNNING', 84, False), (137, 'RUNNING', 137, False),
    (85, 'RUNNING', 85, True), (143, 'RUNNING', 85, True),
    (85, 'CANCELLED', 85, False), (143, 'COMPLETING', 85, False)])
def test_stopped_run_alone_is_requeued_and_only_while_it_is_running(
        at, status, state, ends, requeued):
    (at / 'state').write_text(state)
    job = start(at, ['bash', '-c', f'exit {status}'])
    assert job.wait(60) == ends, job.stdout.read()
    assert asked(at) == ['requeue 9'] * requeued


def test_member_of_an_array_runs_its_command_and_is_requeued_by_its_name(
        at):
    env = dict(SLURM_ARRAY_JOB_ID='7', SLURM_JOB_ID='7')
    commands = [['bash', '-c', 'exit 3'],
                ['bash', '-c', 'echo "$0 $PWD"; exit 85', 'a  "b" `c` $d']]
    statuses = []
    for member in '0', '1', '2', '':
        job = start(at, *commands, array='0-1', SLURM_ARRAY_TASK_ID=member,
                    **env)
        told = job.communicate(timeout=60)[0]
        statuses.append(job.returncode)
        if member == '1':
            assert f'a  "b" `c` $d {os.getcwd()}\n' in told
    assert statuses == [3, 85, 1, 1]  # no command is a failure
    assert asked(at) == ['requeue 7_1']


@pytest.mark.parametrize('command, status', [
    ('trap "exit 85" TERM; touch {at}/up; while :; do sleep .1; done', 85),
    ('touch {at}/up; sleep 60', 85),  # still starting
    ('trap "exit 0" TERM; touch {at}/up; while :; do sleep .1; done', 0)])
def test_term_to_the_shell_goes_on_to_the_training(at, command, status):
    up = command.replace('{at}', '"$0"')
    job = start(at, ['bash', '-c', up, str(at)])
    while not (at / 'up').exists():
        time.sleep(.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == status, job.stdout.read()
    assert asked(at) == ['--signal=TERM 9'] + ['requeue 9'] * (status > 0)


def test_term_before_there_is_a_step_waits_for_it(at):
    srun = at / 'bin/srun'
    srun.write_text(srun.read_text().replace(
        'echo $$', 'touch "$(dirname "$0")/../early"; sleep 2; echo $$'))
    job = start(at, ['sleep', '60'])
    while not (at / 'early').exists():
        time.sleep(.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 85, job.stdout.read()
    assert asked(at) == ['--signal=TERM 9', 'requeue 9']


def test_script_stops_where_its_folder_is_gone(at, monkeypatch):
    gone = at / 'gone'
    gone.mkdir()
    monkeypatch.chdir(gone)
    write_script(at / 'job.sbatch', Request('gpu', 'n'), [['touch', 'ran']])
    monkeypatch.chdir(at)
    shutil.rmtree(gone)
    done = subprocess.run(['bash', at / 'job.sbatch'], env=dict(
        os.environ, PATH=f'{at / "bin"}:{os.environ["PATH"]}'))
    assert done.returncode == 1 and not (at / 'ran').exists()


def test_scheduler_that_does_not_answer_is_asked_again(at):
    path = at / 'bin/scontrol'
    path.write_text('#!/bin/bash\nat=$(dirname "$0")/..\n'
                    'echo "$@" >> "$at/asked"\n'
                    '[ "$(wc -l < "$at/asked")" -gt 1 ]\n')
    job = start(at, ['bash', '-c', 'exit 85'])
    assert job.wait(60) == 85
    assert asked(at) == ['requeue 9'] * 2


def directives(**settings):
    return Request(**dict(dict(partition='gpu', name='n'), **settings))


def test_request_is_written_where_slurm_reads_it(tmp_path):
    folder = tmp_path / 'a b 5%'
    write_script(folder / 'train.sbatch', Request(
        'gpu', 'of me', tasks=6, tasks_per_node=4, gpus=4, cpus=3,
        time='1-12:00:00', account='lab',
        options=('--qos=low', '--exclude=n[1-2]', '--gres=none')), [['true']])
    head = (folder / 'train.sbatch').read_text().split('\n# ')[0]
    assert head.splitlines()[1:] == [f'#SBATCH {line}' for line in (
        '--job-name=of_me', '--partition=gpu', '--nodes=2', '--ntasks=6',
        '--ntasks-per-node=4', '--gres=gpu:4', '--cpus-per-task=3',
        '--time=1-12:00:00', '--account=lab', '--requeue',
        '--open-mode=append', '--signal=TERM@180',
        f'--output="{tmp_path}/a b 5%%/train-%j.log"', '--qos=low',
        '--exclude=n[1-2]', '--gres=none')]


def test_no_gpu_asks_for_none(tmp_path):
    assert '--gres=none\n' in directives(gpus=0).directives(tmp_path / 'x')


@pytest.mark.parametrize('settings, told', [
    (dict(partition='gpu\n#SBATCH --wrap=x'), 'partition'),
    (dict(account='a b'), 'account'),
    (dict(options=('--comment="a\nb"', )), 'control character'),
    (dict(options=('-p', )), 'no option of sbatch'),
    (dict(options=('x', )), 'no option of sbatch'),
    (dict(time='soon'), 'is not one'),
    # A run is asked to save 180 s before its limit.
    (dict(time='5'), '300 s'), (dict(time='0:05:59'), '359 s'),
    (dict(time='6:00'), '360 s'), (dict(time='0-0'), '0 s')])
def test_what_slurm_would_misread_is_refused(tmp_path, settings, told):
    with pytest.raises(ConfigError, match=told):
        directives(**settings).directives(tmp_path / 'x')


@pytest.mark.parametrize('time', ['10', '6:01', '1:0:0', '0-1', '1-0:30',
                                  'UNLIMITED', '0', None])
def test_time_limits_of_every_form_pass(tmp_path, time):
    text = directives(time=time).directives(tmp_path / 'x')
    assert (f'--time={time}\n' in text) == (time is not None)


def test_command_or_folder_with_a_line_break_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='control character'):
        write_script(tmp_path / 's', Request('gpu', 'n'), [['a\nb']])
    with pytest.raises(ConfigError, match='control character'):
        write_script(tmp_path / 'a\nb/s', Request('gpu', 'n'), [['a']])


@pytest.fixture
def scripts(root, at):
    """Run a script of tools/ with an srun that tells its words."""
    for name in ('srun', 'sbatch'):
        (at / 'bin' / name).write_text(
            '#!/bin/bash\n[[ "$*" == *--test-only* ]] && exit "${REFUSE:-0}"\n'
            'printf "%s\\n" "${0##*/}" "$@"\n')
        (at / 'bin' / name).chmod(0o755)

    def run(script, *words, **env):
        return subprocess.run(
            ['bash', root / 'tools' / script, *words], text=True, cwd=at,
            capture_output=True, env={
                **os.environ, 'PYTHON': sys.executable,
                'PATH': f'{at / "bin"}:{os.environ["PATH"]}', **env})
    return run


def test_scripts_ask_for_gpus_or_none_and_what_else_is_said(scripts):
    words = scripts('slurm_train.sh', 'p', 'j', 'c.py', '--amp', GPUS='4',
                    TIME_LIMIT='30', ACCOUNT='lab').stdout.splitlines()
    assert words[0] == 'srun' and {
        '--partition=p', '--job-name=j', '--ntasks=4', '--ntasks-per-node=4',
        '--gres=gpu:4', '--cpus-per-task=5', '--time=30', '--account=lab'
    } <= set(words)
    assert words[-4:] == ['c.py', '--amp', '--launcher', 'slurm']
    words = scripts('slurm_test.sh', 'p', 'j', 'c.py', 'x.pth', GPUS='0',
                    SRUN_ARGS='--qos=low --mem=3G').stdout.splitlines()
    assert {'--ntasks=1', '--gres=none', '--qos=low', '--mem=3G'} <= set(words)
    assert not [w for w in words if w.startswith('--time')]


def sinfo(at, does):
    (at / 'bin/sinfo').write_text(f'#!/bin/sh\n{does}\n')
    (at / 'bin/sinfo').chmod(0o755)


def test_cluster_that_does_not_answer_is_told_from_one_that_refuses(
        scripts, at):
    sinfo(at, 'exit 1')
    done = scripts('slurm_train.sh', 'p', 'j', 'c.py', REFUSE='1')
    assert done.returncode == 1 and done.stdout == ''
    assert 'no slurm answers' in done.stderr
    assert 'GPUS_PER_NODE' not in done.stderr


def test_job_that_fits_no_node_is_not_left_waiting(scripts, at):
    sinfo(at, 'exit 0')  # no node is down
    for script in ('slurm_train.sh', 'slurm_test.sh'):
        done = scripts(script, 'p', 'j', 'c.py', 'x.pth', REFUSE='1')
        assert done.returncode == 1 and 'GPUS_PER_NODE' in done.stderr
        assert done.stdout == ''
    sinfo(at, 'echo 1')  # a node is down
    done = scripts('slurm_train.sh', 'p', 'j', 'c.py', REFUSE='1')
    assert done.stdout.startswith('srun\n') and 'waiting' in done.stderr


@pytest.fixture
def submit(root, scripts, at, monkeypatch):
    """The main function of tools/slurm_submit.py, beside the stand-ins."""
    monkeypatch.chdir(at)
    monkeypatch.syspath_prepend(str(root / 'tools'))
    monkeypatch.setenv('PATH', f'{at / "bin"}:{os.environ["PATH"]}')
    return runpy.run_path(str(root / 'tools/slurm_submit.py'))['main']


def test_training_that_goes_on_is_submitted_by_one_command(
        root, scripts, at, submit, monkeypatch, capfd):
    (at / 'python').write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    (at / 'python').chmod(0o755)
    words = [str(root / 'configs/quickstart/swin-nano-mona_shapes.py'),
             '--work-dir', 'w d', '--cfg-options', 'a="x y"']
    handed = scripts('slurm_train.sh', '--requeue', 'gpu', 'mine', *words,
                     PYTHON=str(at / 'python'), GPUS='4').stdout.splitlines()
    assert handed == [str(root / 'tools/slurm_submit.py'), 'gpu', 'mine',
                      *words]
    for name, value in dict(GPUS='4', GPUS_PER_NODE='2',
                            SRUN_ARGS='--qos=low').items():
        monkeypatch.setenv(name, value)
    assert submit(handed[1:]) == 0
    script = at / 'w d/train.sbatch'
    assert capfd.readouterr().out.splitlines()[-2:] == ['sbatch', str(script)]
    text = script.read_text()
    for line in ('--ntasks=4', '--ntasks-per-node=2', '--nodes=2',
                 '--gres=gpu:2', '--qos=low'):
        assert f'#SBATCH {line}\n' in text
    ran = subprocess.run(['bash', script], capture_output=True, text=True)
    assert ran.stdout.splitlines()[-8:] == [
        *words, '--resume', '--launcher', 'slurm'], ran.stderr


@pytest.mark.parametrize('words, env, told', [
    (['--resume', 'old.pth'], {}, '--resume old.pth'),
    ([], dict(GPUS='two'), "GPUS must be a number, but is 'two'"),
    ([], dict(TIME_LIMIT='3'), '180 s')])
def test_what_cannot_go_on_is_refused_before_it_is_submitted(
        root, submit, monkeypatch, capfd, words, env, told):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=told):
        submit(['gpu', 'mine', str(
            root / 'configs/quickstart/swin-nano-mona_shapes.py'), *words])
    assert 'sbatch' not in capfd.readouterr().out
