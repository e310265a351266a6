#!/usr/bin/env python
"""Generate pictures, tune, test and draw: minutes on two CPU cores."""
import argparse

from mona_mm.errors import UserError
from mona_mm.research import quickstart


def main(argv=None) -> int:
    """Run the quickstart; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--methods',
        nargs='+',
        default=quickstart.METHODS,
        help='tuning methods to compare, or all (default: mona fixed full)')
    args = parser.parse_args(argv)
    return quickstart.run(quickstart.choose(args.methods))


if __name__ == '__main__':
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
