#!/usr/bin/env python
"""Draw training losses or metrics of work dirs, one line each.

What was validated by epoch is drawn against epochs, everything else against
iterations. Resumed runs are one line. The ten methods look the same in every
picture.
"""
import argparse
import sys
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Optional

from mona_mm.errors import UserError
from mona_mm.reports.curves import collect
from mona_mm.reports.figure import FORMATS, check_formats, draw


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('work_dir', nargs='+', help='of a training run')
    add('--keys', nargs='+', default=['loss'], metavar='KEY',
        help='what to draw, a panel each: loss, lr, pascal_voc/mAP, mIoU, ... '
        '(default: loss)')
    add('--labels', nargs='+', metavar='TEXT', help='one per work dir '
        '(default: what tells their paths apart)')
    add('--group', action='store_true', help='draw work dirs that differ in '
        'seedN only, or have the same label, as their mean and range')
    add('--panel-by', choices=('key', 'folder'), default='key',
        help='folder: also a panel for each folder that holds work dirs, as '
        'in work_dirs/TASK/METHOD')
    add('--smooth', type=int, default=1, metavar='N', help='running mean of '
        'N logged points, not of validations (default: 1)')
    add('--x', choices=('iter', 'epoch'), help='draw against these')
    add('--title', default='', help='of the picture')
    add('--ylim', nargs=2, type=_limit, default=(None, None),
        metavar=('LOW', 'HIGH'), help='of all panels; auto leaves one open')
    add('--out', metavar='PATH', default='work_dirs/curves',
        help='files without suffix, or a folder for curves.* (default: '
        'work_dirs/curves)')
    add('--formats', metavar='A,B', help=f'of {",".join(FORMATS)} '
        "(default: PATH's suffix, or png,svg)")
    return parser.parse_args(argv)


def _limit(text: str) -> Optional[float]:
    if text == 'auto':
        return None
    try:
        value = float(text)
    except ValueError:
        value = inf
    if not isfinite(value):
        raise argparse.ArgumentTypeError(
            f'expected a number or auto, but got {text!r}')
    return value


def files_of(args: argparse.Namespace) -> tuple:
    """Where the pictures go: path without suffix, formats."""
    out, suffix = Path(args.out), Path(args.out).suffix[1:]
    if args.out.endswith('/') or out.is_dir():
        out, suffix = out / 'curves', ''
    elif suffix in FORMATS:
        out = out.with_suffix('')
    default = suffix if suffix in FORMATS else 'png,svg'
    formats = (args.formats or default).split(',')
    check_formats(formats)
    return out, formats


def main(argv=None) -> None:
    """Read, draw, say where."""
    args = parse_args(argv)
    out, formats = files_of(args)
    panels = collect(
        args.work_dir, args.keys, args.labels, group=args.group,
        by_folder=args.panel_by == 'folder', smooth=args.smooth, x=args.x,
        warn=partial(print, file=sys.stderr))
    for path in draw(panels, out, formats, args.title, args.ylim):
        print(path)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
