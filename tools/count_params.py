#!/usr/bin/env python
"""Count what trains in the backbones of configs, as the paper's tables do."""
import argparse
import json
import os.path as osp

from rich.console import Console
from rich.table import Table

from mona_mm.backbones.counting import count_backbone
from mona_mm.engine import launch
from mona_mm.engine.quiet import quiet
from mona_mm.errors import UserError


def show(counts: dict) -> None:
    """Print one table over all configs, and one of where it trains."""
    shares = _table('Parameters of the backbone', 'config', 'tuner',
                    'trained', 'total', 'share')
    places = _table('Where it trains', 'config', 'place', 'parameters')
    for path, row in counts.items():
        config = osp.splitext(osp.basename(path))[0]
        shares.add_row(config, row['tuner'], f'{row["trained"]:,}',
                       f'{row["total"]:,}', f'{row["share"]:.2%}')
        for part in ('by_site', 'by_stage'):
            for place, number in row[part].items():
                places.add_row(config, place, f'{number:,}')
    console = Console()
    console.print(shares)
    console.print(places)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify='left')
    for name in columns:
        left = name in ('config', 'tuner', 'place')
        table.add_column(
            name, justify='left' if left else 'right', overflow='fold')
    return table


def main(argv=None) -> None:
    """Count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='+', help='config files')
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(argv)
    with quiet():
        counts = {
            c: count_backbone(launch.read_config(c)) for c in args.config
        }
    if args.json:
        print(json.dumps(counts, indent=1))
    else:
        show(counts)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
