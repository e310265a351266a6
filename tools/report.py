#!/usr/bin/env python
"""Show the results of training runs, or add them to the ledger."""
import argparse
from pathlib import Path

from mona_mm.errors import ConfigError, UserError
from mona_mm.reports.ledger import (
    add_runs,
    find_studies,
    load_book,
    save_book,
)
from mona_mm.reports.records import collect, with_results
from mona_mm.reports.results import FORMATS, render, write


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'work_dirs', nargs='*', metavar='WORK_DIR',
        help='work dirs, or folders of them (default: work_dirs)')
    parser.add_argument('--format', choices=FORMATS, default='markdown')
    parser.add_argument(
        '--out', metavar='FILE|FOLDER', help='write there instead of printing')
    parser.add_argument(
        '--value', choices=('last', 'best'), default='last',
        help='which validation counts (default: last)')
    parser.add_argument(
        '--result', metavar='KEY=VALUE', action='append', default=[],
        type=result, help='a metric measured after training, as the library '
        'logs it, for example dota/mAP=0.784; with a single run')
    parser.add_argument(
        '--ledger', metavar='RUNS_JSON',
        help='add the runs to this file and write ledger.md and ledger.csv '
        'beside it; without WORK_DIR only the latter')
    parser.add_argument('--by', metavar='NAME', default='',
                        help='who ran them, for the ledger')
    return parser.parse_args(argv)


def result(text: str) -> tuple:
    """Read ``KEY=VALUE``."""
    key, _, value = text.partition('=')
    return key, float(value)


def main(argv=None) -> None:
    """Collect, then report or add."""
    args = parse_args(argv)
    if args.ledger and not args.work_dirs:
        return _add(args, [])
    runs = collect(args.work_dirs or ['work_dirs'])
    if args.result:
        runs = [with_results(_single(runs), dict(args.result))]
    if args.ledger:
        return _add(args, runs)
    text = render(runs, args.format, args.value)
    print(write(text, args.format, args.out) if args.out else text)


def _single(runs):
    if len(runs) != 1:
        raise ConfigError(f'--result: found {len(runs)} runs, expected one; '
                          'name its work dir')
    return runs[0]


def _add(args, runs) -> None:
    book = load_book(args.ledger)
    if runs:
        new = add_runs(book, runs, args.by)
        print(f'{len(runs)} runs found, {len(new) - len(book)} new')
        book = new
    studies = find_studies(Path(args.ledger).resolve().parents[1])
    for path in save_book(args.ledger, book, studies):
        print(path)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
