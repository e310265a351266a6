#!/usr/bin/env python
"""Convert a checkpoint, tuner included, between key layouts."""
import argparse

from mona_mm.checkpoint.convert import TARGETS, convert_file, sources
from mona_mm.errors import UserError


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'source', metavar='IN', help='checkpoint file, of a whole model or '
        'a backbone')
    parser.add_argument('out', metavar='OUT', help='file to write')
    parser.add_argument(
        '--from',
        dest='layout',
        choices=('auto', *sources()),
        default='auto',
        help='layout of IN (default: found from its keys); microsoft: the '
        "Swin repository's; timm; mona: the Mona release's; star: "
        "STAR-MMRotate's; hst: Hierarchical Side-Tuning's")
    parser.add_argument(
        '--to',
        dest='target',
        choices=TARGETS,
        default='mm',
        help="layout of OUT: mm, OpenMMLab's and ours (default), or mona")
    return parser.parse_args(argv)


def main(argv=None) -> None:
    """Convert, and say in one line what was done."""
    args = parse_args(argv)
    result = convert_file(args.source, args.out, args.layout, args.target)
    print(f'{args.source}: {result}; written to {args.out} in {args.target} '
          'layout')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
