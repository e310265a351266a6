#!/usr/bin/env python
"""Generate, pre-train, tune, test and draw: minutes on two CPU cores."""
import argparse
import subprocess

from mona_mm.errors import UserError
from mona_mm.research import quickstart


def main(argv=None) -> None:
    """Run the quickstart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--methods',
        nargs='+',
        default=['mona', 'fixed'],
        help='tuning methods to compare, or all (default: mona fixed)')
    args = parser.parse_args(argv)
    quickstart.run(quickstart.choose(args.methods))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f'error: this step failed, its last words are '
                         f'above: {" ".join(error.cmd)}') from None
