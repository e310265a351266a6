#!/usr/bin/env python
"""Build mmcv with its ops into a folder, once for many machines.

`tools/install.sh --wheels DIR` takes it from there.
"""
import argparse
import sys
from pathlib import Path

# The installer runs this before mona_mm is installed.
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mona_mm.doctor import wheels  # noqa: E402
from mona_mm.errors import UserError  # noqa: E402


def main(argv=None) -> None:
    """Build or fetch, and print the wheel's path."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', metavar='DIR', type=Path, help='folder')
    parser.add_argument(
        '--cuda-archs', nargs='+', default=[], metavar='X.Y',
        help='compile CUDA ops too, for these architectures (8.0: A100, 9.0: '
        'H100); needs nvcc of the CUDA version that torch names, and no GPU')
    parser.add_argument('--jobs', type=int, metavar='N',
                        help='objects compiled at once')
    parser.add_argument(
        '--cached', action='store_true',
        help='a wheel in the cache of pip will do')
    parser.add_argument(
        '--fetch', metavar='SOURCE',
        help='do not build: take the wheel that fits this Python and torch '
        'from this folder or address, if its hash is right')
    args = parser.parse_args(argv)
    mmcv = next(line.strip() for line in (ROOT / 'requirements.txt').open()
                if line.startswith('onedl-mmcv=='))
    if args.fetch:
        args.out.mkdir(parents=True, exist_ok=True)
        print(wheels.fetch(mmcv, args.fetch, args.out))
    else:
        print(wheels.build(mmcv, args.out, args.cuda_archs, args.jobs,
                           fresh=not args.cached))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
