#!/usr/bin/env python
"""The paper's comparison in miniature, on generated pictures: four methods on
four tasks, or ten and five variants of Mona.
"""
import argparse

from mona_mm.errors import UserError
from mona_mm.research import mini_study
from mona_mm.research.sweep import exit_status, show


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Run it again to go on: finished runs are skipped.')
    parser.add_argument(
        '--form', choices=sorted(mini_study.FORMS), default='short',
        help='short: four methods, three seeds; full: all methods and '
        'variants of Mona, five seeds and three times the epochs (default: '
        'short)')
    parser.add_argument(
        '--jobs', type=int, default=2, metavar='N',
        help='runs at a time (default: 2)')
    parser.add_argument(
        '--report-only', action='store_true',
        help='render tables and figures from what is finished')
    parser.add_argument(
        '--out', metavar='DIR',
        help='where they go (default: beside the runs)')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the study and report; return the exit status."""
    args = parse_args(argv)
    status = 0
    if not args.report_only:
        outcomes = mini_study.run(args.form, args.jobs)
        show(outcomes)
        status = exit_status(outcomes)
    for path in mini_study.report(args.form, args.out):
        print(path)
    return status


if __name__ == '__main__':
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
