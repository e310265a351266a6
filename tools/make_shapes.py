"""Generate the shapes picture set in every layout."""

import argparse
import os
import sys

from mona_mm.research.shapes import make_shapes
from mona_mm.text import cannot_write


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; every option is one of ``make_shapes``."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('root', nargs='?', default='data/shapes',
                        help='folder to create')
    for name, default, text in (
            ('train', 640, 'detection-like training images'),
            ('val', 800, 'detection-like validation images'),
            ('size', 128, 'side of those images in pixels'),
            ('per-class', 100, 'training images of each target class'),
            ('source-per-class', 0, 'training images of each source class'),
            ('varied-per-class', 0,
             'varied training images of each source class'),
            ('val-per-class', 60, 'validation images of each class'),
            ('seed', 0, 'seed of all randomness'),
            ('processes', min(os.cpu_count() or 1, 8),
             'how many draw; the pictures are the same with any number')):
        parser.add_argument(f'--{name}', type=int, default=default, help=text)
    parser.add_argument('--overwrite', action='store_true',
                        help='replace a set made with other arguments')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Generate the set and say what was done; return the exit status."""
    options = vars(parse_args(argv))
    root = options.pop('root')
    try:
        meta = make_shapes(root, progress=sys.stderr.isatty(), **options)
    except (ValueError, FileExistsError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'error: {cannot_write(root, error)}', file=sys.stderr)
        return 2
    done = 'already there, nothing to do' if meta['reused'] else 'written'
    counts = ', '.join(f'{k} {v}' for k, v in meta['counts'].items())
    print(f'{root}: {done} ({counts}; sha256 {meta["sha256"][:12]})')
    return 0


if __name__ == '__main__':
    sys.exit(main())
