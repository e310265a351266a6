#!/usr/bin/env python
"""Evaluate a checkpoint with the metrics of its config."""
import argparse
import os

from mona_mm.engine import device, evaluate, fit, launch, preflight
from mona_mm.engine.watch.labels import set_labels_hook
from mona_mm.errors import UserError


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    launch.add_common_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', help='write predictions to this .pkl file (segmentation: '
        'or as label images to this folder)')
    parser.add_argument(
        '--show', action='store_true', help='show predictions in a window')
    parser.add_argument(
        '--show-dir',
        help='write pictures of predictions to this folder, within '
        'work_dir/timestamp unless it is absolute')
    parser.add_argument(
        '--tta', action='store_true', help='use test-time augmentation')
    parser.add_argument(
        '--fuse',
        action='store_true',
        help='fold inserted modules first (the same predictions, faster)')
    return parser.parse_args(argv)


def main(argv=None) -> None:
    """Test."""
    args = parse_args(argv)
    cfg = launch.load_config(args)
    if args.out:
        evaluate.set_out(cfg, args.out)
    if args.show or args.show_dir:
        evaluate.set_show(cfg, args.show, args.show_dir)
    warnings = preflight.preflight(cfg, ('test', ))
    for option, folder in (('--work-dir', cfg.work_dir),
                           ('--show-dir', args.show_dir),
                           ('--out', args.out and os.path.dirname(args.out))):
        if folder:
            preflight.check_folder(folder, f'it is that of {option}')
    if args.tta:
        evaluate.set_tta(cfg)
    fit.check_for_test(cfg, args.checkpoint)
    if args.fuse:
        launch.add_hook(cfg, type='mona_mm.FuseHook')
    set_labels_hook(cfg)
    cfg.load_from, cfg.resume = args.checkpoint, False

    def test(runner) -> None:
        runner.test()
        if args.show_dir:  # an absolute one wins
            folder = os.path.join(runner.log_dir, args.show_dir)
            runner.logger.info(f'pictures are in {folder}')

    launch.run(cfg, test, warnings)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
    device.leave_group()
