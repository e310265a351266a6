#!/usr/bin/env python
"""Arrange a downloaded dataset as the configs read it, or check it."""
import argparse

from mona_mm.data.prepare import PREPARERS, build
from mona_mm.errors import UserError


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('dataset', choices=sorted(PREPARERS))
    parser.add_argument(
        '--source', metavar='DIR',
        help='folder of the downloaded archives (default: OUT/downloads); '
        'they are only read')
    parser.add_argument(
        '--out', metavar='DIR', default='data',
        help='folder of all datasets (default: data)')
    parser.add_argument(
        '--verify', action='store_true',
        help='change nothing; say what is missing or wrong')
    parser.add_argument(
        '--download', action='store_true',
        help='fetch the archives into the source folder first')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Prepare and verify; return the exit status."""
    args = parse_args(argv)
    preparer = build(args.dataset, out=args.out, source=args.source)
    if not args.verify:
        if args.download:
            preparer.download()
        preparer.prepare()
    problems = preparer.verify()
    for problem in problems:
        print(f'- {problem}')
    print(f'{preparer.root}: ' + (f'{len(problems)} problems' if problems
                                  else 'complete'))
    return int(bool(problems))


if __name__ == '__main__':
    try:
        raise SystemExit(main())
    except (UserError, OSError) as error:  # names its file as well
        raise SystemExit(f'error: {error}') from None
