#!/usr/bin/env python
"""Put the backbone of a pre-training into the package: what the quickstarts
start from.
"""
import argparse

from mona_mm.errors import UserError
from mona_mm.research.base import ship


def main(argv=None) -> None:
    """Write the file and its record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', help='of the pre-training')
    parser.add_argument(
        '--name', default='swin-nano_shapes',
        help='of the file, before its hash (default: %(default)s)')
    parser.add_argument(
        '--pictures', nargs='+', default=['data/singles'],
        metavar='DIR',
        help='what it was trained on (default: data/singles)')
    parser.add_argument(
        '--checkpoint', metavar='FILE', help='another one than the last')
    args = parser.parse_args(argv)
    path = ship(args.work_dir, args.name, args.pictures,
                checkpoint=args.checkpoint)
    print(f'{path}\nname it in configs/_base_/models: '
          f'checkpoint=\'mona_mm://{path.name}\'')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
