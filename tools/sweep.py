#!/usr/bin/env python
"""Run a grid of methods, tasks and seeds, here or as a slurm job array."""
import argparse
import shlex

from mona_mm.engine.launch import key_value
from mona_mm.errors import Interrupted, UserError
from mona_mm.research.sweep import (
    exit_status,
    expand,
    run_locally,
    show,
    write_slurm,
)


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Run the same command again to go on: finished runs are '
        'skipped, interrupted ones resumed, failed ones tried again. Exit '
        f'status: 0 all finished, 1 some failed, {Interrupted.status} '
        'stopped by a signal.')
    parser.add_argument(
        '--tasks', nargs='+', default=[], metavar='CONFIG',
        help='one config per task; its method does not matter')
    parser.add_argument(
        '--methods', nargs='+', default=['all'], metavar='METHOD',
        help="e.g. mona full mona-b32; 'all' (the default): every method. A "
        "method's own config of the task is taken where there is one, else "
        'the config of the task with --tuner')
    parser.add_argument(
        '--configs', nargs='+', default=[], metavar='CONFIG',
        help='further configs, as they are')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument(
        '--work-dir', default='work_dirs/sweep',
        help='runs go to WORK_DIR/<config>/seed<seed> '
        '(default: work_dirs/sweep)')
    parser.add_argument(
        '--gpus', type=int, default=1, metavar='N',
        help='GPUs per run (0: none)')
    parser.add_argument(
        '--jobs', type=int, metavar='N',
        help='runs at a time (default: as many as the GPUs allow; with '
        '--slurm: no limit)')
    parser.add_argument(
        '--slurm', metavar='PARTITION',
        help='write a job array into the work dir instead of running')
    parser.add_argument(
        '--cpus', type=int, default=5, metavar='N',
        help='with --slurm: cores per GPU, or per run without (default: 5)')
    parser.add_argument(
        '--time', metavar='LIMIT', help='with --slurm: time limit, after '
        'which a run goes on in the queue')
    parser.add_argument('--account', help='with --slurm: whom to charge')
    parser.add_argument(
        '--slurm-args', type=shlex.split, default=[], metavar="'--NAME=...'",
        help="with --slurm: further options of sbatch, e.g. "
        "--slurm-args='--qos=low --mem=32G'")
    parser.add_argument(
        '--list', action='store_true', help='only say what there is to run')
    parser.add_argument('--amp', action='store_true', help='as in train.py')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
        type=key_value,
        help='for every run, as in train.py')
    args = parser.parse_args(argv)
    for name, least in (('gpus', 0), ('jobs', 1), ('cpus', 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f'--{name} must be at least {least}, but is {value}')
    return args


def main(argv=None) -> int:
    """Sweep; return the exit status."""
    args = parse_args(argv)
    jobs = expand(
        args.tasks, args.methods, args.seeds, args.configs, args.work_dir,
        options=tuple(args.cfg_options), gpus=args.gpus,
        extra=('--amp', ) if args.amp else ())
    if args.list:
        for job in jobs:
            print(f'{job.state():10} {job.config} seed {job.seed}')
        return 0
    if args.slurm:
        script = write_slurm(
            jobs, args.slurm, args.work_dir, args.jobs, args.cpus, args.time,
            args.account, args.slurm_args)
        print(shlex.join(['sbatch', str(script)]))
        return 0
    outcomes = run_locally(jobs, args.jobs)
    show(outcomes)
    return exit_status(outcomes)


if __name__ == '__main__':
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
