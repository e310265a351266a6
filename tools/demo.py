#!/usr/bin/env python
"""Show what checkpoints make of pictures, side by side, as a page."""
import argparse
import os.path as osp
import sys

from mona_mm.checkpoint.io import trust
from mona_mm.data.inputs import Inputs
from mona_mm.engine import launch
from mona_mm.engine.predict import Predictor, Slices
from mona_mm.engine.preflight import check_folder
from mona_mm.errors import ConfigError, UserError
from mona_mm.reports.demo import show, titles_of


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line: INPUTS... CONFIG CHECKPOINTS...

    Raises:
        ConfigError: If no config is among the words.
    """
    parser = argparse.ArgumentParser(
        description=__doc__,
        usage='%(prog)s INPUT [INPUT ...] CONFIG CHECKPOINT [CHECKPOINT ...] '
        '[options]')
    parser.add_argument(
        'inputs', nargs='+', metavar='INPUT',
        help='pictures, folders of them, patterns, or one video')
    launch.add_common_arguments(parser)
    parser.add_argument(
        'checkpoints', nargs='+', metavar='CHECKPOINT',
        help='deltas or files in full; a delta of another tuner than the '
        'config\'s brings its own')
    parser.add_argument(
        '--titles', nargs='+', metavar='TITLE',
        help='of the checkpoints (default: what tells their paths apart)')
    parser.add_argument(
        '--out-dir', default='outputs',
        help='folder for index.html and the pictures (default: outputs)')
    parser.add_argument(
        '--annotations', action='store_true',
        help='draw the ground truth first, from the config\'s test data '
        '(other data: --cfg-options test_dataloader.dataset.data_root=...)')
    parser.add_argument(
        '--score-thr', type=float, default=0.3,
        help='lowest score of a box that is drawn (default: 0.3)')
    parser.add_argument(
        '--slice', type=int, default=0, metavar='PIXELS',
        help='cut larger pictures into windows of this side')
    parser.add_argument(
        '--overlap', type=int, metavar='PIXELS',
        help='of windows (default: a quarter of them); objects that are '
        'larger may be cut')
    parser.add_argument(
        '--batch-size', type=int, default=1,
        help='windows at once (default: 1)')
    parser.add_argument(
        '--every', type=int, default=1, metavar='N',
        help='of a video, take each Nth frame (default: 1)')
    parser.add_argument(
        '--panel', type=int, default=640, metavar='PIXELS',
        help='longer side of each drawing (default: 640)')
    parser.add_argument('--device', help='e.g. cuda:0 or cpu')
    args = parser.parse_args(argv)
    # The config is the first .py: argparse cannot tell two lists apart.
    words = [*args.inputs, args.config, *args.checkpoints]
    place = next((i for i, w in enumerate(words) if w.endswith('.py')), None)
    if not place or place == len(words) - 1:
        raise ConfigError('expected INPUTS CONFIG CHECKPOINTS, with a config '
                          f'(.py) between the two, but got {" ".join(words)}')
    args.inputs, args.config = words[:place], words[place]
    args.checkpoints = words[place + 1:]
    return args


def main(argv=None) -> None:
    """Show, and say where."""
    args = parse_args(argv)
    for name in ('panel', 'batch_size', 'every'):
        if getattr(args, name) < 1:
            raise ConfigError(f'--{name.replace("_", "-")} '
                              f'{getattr(args, name)}: expected 1 or more')
    cfg = launch.load_config(args)
    if args.trust_checkpoint:
        for checkpoint in args.checkpoints:
            trust(checkpoint)
    inputs = Inputs(args.inputs, args.every)
    checkpoints = titles_of(args.checkpoints, args.titles)
    check_folder(args.out_dir, 'it is that of --out-dir')
    gap = args.slice // 4 if args.overlap is None else args.overlap
    predictor = Predictor(cfg, checkpoints, args.device,
                          Slices(args.slice, gap), args.batch_size)
    page = show(cfg, predictor, inputs, checkpoints, args.out_dir,
                args.score_thr, args.annotations, args.panel,
                sys.stderr.isatty())
    print(f'{len(inputs)} {"frames" if inputs.video else "pictures"}, '
          f'{len(checkpoints)} checkpoints: open {osp.abspath(page)}')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
