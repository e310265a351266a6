#!/usr/bin/env python
"""Train a model from a config: any task of the four OpenMMLab libraries."""
import argparse
from contextlib import ExitStack

from mona_mm.starting import answer_signals, leave_signals

if __name__ == '__main__':
    answer_signals()  # importing the rest takes many seconds

from mona_mm.engine import device, launch, preflight  # noqa: E402
from mona_mm.engine.resumable.lock import hold  # noqa: E402
from mona_mm.engine.resumable.newest import save_folders  # noqa: E402
from mona_mm.engine.shard import DTYPES, set_shard  # noqa: E402
from mona_mm.engine.watch.labels import set_labels_hook  # noqa: E402
from mona_mm.errors import Interrupted, UserError  # noqa: E402


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    launch.add_common_arguments(parser)
    parser.add_argument(
        '--amp', action='store_true', help='train with mixed precision')
    parser.add_argument(
        '--shard',
        nargs='?',
        const='float32',
        choices=DTYPES,
        help='share the model out over the processes (FSDP2) instead of '
        'keeping it in each; bfloat16: keep the frozen base in it, and '
        'compute the backbone under autocast')
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate with the total batch size')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='PATH',
        help='go on from a checkpoint; without a path, from the newest one '
        'in the work dir')
    parser.add_argument(
        '--new-schedule',
        action='store_true',
        help='with --resume: follow the config\'s learning rate schedule '
        'from here on, not the checkpoint\'s (to train longer)')
    parser.add_argument(
        '--check',
        nargs='?',
        const=10,
        type=int,
        metavar='STEPS',
        help='after some steps (10), stop unless all that should train has '
        'moved and nothing frozen has')
    return parser.parse_args(argv)


def main(argv=None) -> None:
    """Train."""
    args = parse_args(argv)
    cfg = launch.load_config(args)
    if args.amp:
        launch.set_amp(cfg)
    if args.shard:
        set_shard(cfg, args.shard)
    if args.auto_scale_lr:
        launch.set_auto_scale_lr(cfg)
    if args.check is not None:
        launch.add_hook(
            cfg, type='mona_mm.TrainabilityCheckHook', after=args.check)
    launch.set_resumable(cfg)
    set_labels_hook(cfg)
    warnings = preflight.preflight(cfg, ('train', 'val'))
    preflight.check_folders(cfg)
    with ExitStack() as locks:
        for folder in save_folders(cfg):
            locks.enter_context(hold(folder))
        launch.set_resume(cfg, args.resume, args.new_schedule)
        preflight.check_start(cfg)
        launch.run(cfg, lambda runner: runner.train(), warnings)
    leave_signals()


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
    except Interrupted:
        device.leave_group()
        raise
    device.leave_group()
