#!/usr/bin/env python
"""Submit a training that goes on until it is done: slurm_train.sh --requeue.

    python tools/slurm_submit.py PARTITION JOB_NAME CONFIG [train.py's options]

The options and the config are read now, not when the job starts.
"""
import os
import shlex
import subprocess
import sys
from pathlib import Path

from train import parse_args

from mona_mm.engine import launch
from mona_mm.engine.cluster import Request, write_script
from mona_mm.errors import ConfigError, UserError


def main(argv=None) -> int:
    """Write the script into the work dir and submit it."""
    partition, name, *words = sys.argv[1:] if argv is None else argv
    args = parse_args(words)
    if args.resume not in (None, 'auto'):
        raise ConfigError(
            f'--resume {args.resume} would go back there each time the job is '
            'requeued: without a path it goes on from the newest checkpoint '
            'of the work dir; put the file there to begin with it')
    folder = Path(launch.load_config(args).work_dir).absolute()
    script = folder / 'train.sbatch'
    if args.resume is None:
        words.append('--resume')
    write_script(script, _request(partition, name), [[
        sys.executable, '-u', str(Path(__file__).with_name('train.py')),
        *words, '--launcher', 'slurm'
    ]])
    print(f'{script}; logs beside it')
    return subprocess.run(['sbatch', str(script)]).returncode


def _request(partition: str, name: str) -> Request:
    """What the variables of slurm_train.sh ask for."""
    gpus = _number('GPUS', 8)
    per_node = _number('GPUS_PER_NODE', min(gpus, 8))
    return Request(
        partition, name, tasks=gpus or 1, tasks_per_node=per_node or 1,
        gpus=per_node, cpus=_number('CPUS_PER_TASK', 5),
        time=os.environ.get('TIME_LIMIT'), account=os.environ.get('ACCOUNT'),
        options=tuple(shlex.split(os.environ.get('SRUN_ARGS', ''))))


def _number(name: str, usual: int) -> int:
    value = os.environ.get(name) or str(usual)
    if not value.isdecimal():
        raise ConfigError(f'{name} must be a number, but is {value!r}')
    return int(value)


if __name__ == '__main__':
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
