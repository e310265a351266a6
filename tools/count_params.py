#!/usr/bin/env python
"""Count what trains in the backbones of configs, as the paper's tables do."""
import argparse
import json
import os.path as osp

from rich.console import Console
from rich.table import Table

from mona_mm.backbones.counting import count_backbone
from mona_mm.config import backbone_of
from mona_mm.engine import launch
from mona_mm.engine.quiet import quiet
from mona_mm.errors import ConfigError, UserError


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
    parser.add_argument(
        '--tuner', help='count this tuning method instead of the config\'s: a '
        'name in configs/_base_/tuners or a file')
    parser.add_argument(
        '--arch', help="count the backbone at this size, 'tiny' for example")
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(argv)
    counts = {}
    with quiet():
        for path in args.config:
            cfg = launch.read_config(path)
            if args.tuner:
                launch.set_tuner(cfg, args.tuner)
            if args.arch:
                backbone_of(cfg).arch = args.arch
            try:
                counts[path] = count_backbone(cfg)
            except AssertionError as error:  # the libraries' own check
                raise ConfigError(f'{path}: {error}') from error
    if args.json:
        print(json.dumps(counts, indent=1))
    else:
        show(counts)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
