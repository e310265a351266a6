#!/usr/bin/env python
"""Methods compared on real pictures, from a real pretrained ViT-S/14."""
import argparse
import os

from mona_mm.errors import UserError
from mona_mm.reports import ledger
from mona_mm.research import real_report, real_study
from mona_mm.research.sweep import exit_status, show


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='Stop it at any time and run it again: what is kept in '
        f'{real_study.RUNS} is not run again, and a run that was stopped '
        'goes on.')
    parser.add_argument(
        '--form', choices=sorted(real_study.FORMS), default='short',
        help='short: four methods on small pictures, about an hour on two '
        'cores; full: nine methods on larger ones, many hours there '
        '(default: short)')
    parser.add_argument(
        '--methods', nargs='+', metavar='METHOD',
        help='run these alone, each at its own rate: any of the nine')
    parser.add_argument(
        '--jobs', type=int, metavar='N',
        help='runs at a time (default: one per GPU, or two without one)')
    parser.add_argument(
        '--device', choices=('auto', 'cpu'), default='auto',
        help='auto: GPUs if there are any (default: auto)')
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--make-data', action='store_true',
        help='make the label pictures, and nothing else')
    what.add_argument(
        '--plan', action='store_true',
        help='list the runs that are missing, and run nothing')
    what.add_argument(
        '--report-only', action='store_true',
        help='write the page, and the ledger, from what is kept')
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Run the study and report; return the exit status."""
    args = parse_args(argv)
    if args.device == 'cpu':
        os.environ['CUDA_VISIBLE_DEVICES'] = ''
    status = 0
    if args.plan:
        for cell in real_study.Study(args.form).left():
            print(f'{cell.task.title}: {cell.name}')
        return status
    if not args.report_only:
        real_study.prepare()
        if args.make_data:
            return status
        study = real_study.Study(args.form)
        outcomes = study.run(
            args.jobs or real_study.usual_jobs(), args.methods)
        if outcomes:
            show(outcomes)
            status = exit_status(outcomes)
    book = 'docs/ledger/runs.json'
    for path in [*real_report.write(), *ledger.save_book(
            book, ledger.load_book(book), ledger.find_studies('docs'))]:
        print(path)
    return status


if __name__ == '__main__':
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
