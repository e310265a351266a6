#!/usr/bin/env python
"""Measure what tuning a backbone costs: time, memory, throughput.

Give configs, or --arch; the backbone alone runs, on random images and
random weights, so neither data nor checkpoints are needed.
"""
import argparse
import json
from functools import partial
from pathlib import Path

import torch

from mona_mm.engine.quiet import quiet
from mona_mm.errors import ConfigError, UserError
from mona_mm.research import benchmark
from mona_mm.research.benchmark import MEASURES, Options
from mona_mm.research.benchmark.options import DTYPES, parse_size
from mona_mm.text import write_atomically

_SKIP = dict(auto='auto', on=True, off=False)


def parse_args(argv=None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('config', nargs='*', help='config files; those that share a backbone '
        'share a table')
    add('--family', default='mona_mm.TunedSwinTransformer', metavar='TYPE',
        help="the backbone's type, with --arch (default: %(default)s)")
    add('--arch', help="the size, without configs, as the family's library "
        'calls it: tiny (default), small, base or large of Swin')
    add('--methods', type=_words, metavar='A,B', help='tuning methods, or '
        'all (default: those of the configs; without configs mona)')
    add('--against', type=_words, metavar='A,B', default=['full', 'plain'],
        help="full: the library's own backbone, every parameter trained; "
        'plain: the same method written out line by line; or methods; or '
        'none (default: full,plain)')
    add('--sizes', type=_words, metavar='BxN,...', default=['2x224'],
        help='batch x side, or batch x height x width (default: 2x224)')
    add('--area-sizes', type=_words, metavar='N,...',
        default=['224', '512', '1024'], help='sides for cost against area, '
        'one image each (default: 224,512,1024)')
    add('--dtype', choices=tuple(DTYPES), default='float32',
        help='float32, or the type of autocast')
    add('--device', choices=('cpu', 'cuda', 'auto'), default='auto')
    add('--threads', type=int, help="CPU threads (default: torch's)")
    add('--runs', type=int, default=10, help='timed rounds (default: 10)')
    add('--warmup', type=int, default=2, help='rounds before (default: 2)')
    add('--seed', type=int, default=0, help='(default: 0)')
    add('--new-shapes', type=int, default=20, metavar='N', help='image shapes '
        'for the cost of a new one (default: 20)')
    add('--whole', action='store_true', help='whole iterations of the '
        "configs' models instead of their backbones: random pictures go "
        'through their training pipelines')
    add('--drop-path', type=float, help='drop-path rate (default: the '
        "configs'; without configs 0.3)")
    add('--skip-dropped', choices=tuple(_SKIP), default='auto',
        help='leave out branches that drop-path zeroes while timing (default:'
        ' as the backbones do)')
    add('--with-cp', action='store_true', help='recompute blocks in the '
        'backward pass, in all subjects')
    add('--only', type=_words, metavar='A,B', default=list(MEASURES),
        help=f'of {", ".join(MEASURES)} (default: all)')
    add('--json', metavar='FILE', help='write everything, raw times included')
    add('--png', metavar='FILE', help='draw the ratios')
    return parser.parse_args(argv)


def _words(text: str) -> list:
    words = [word for word in text.split(',') if word]
    if not words:
        raise argparse.ArgumentTypeError('nothing is named')
    return words


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f'--area-sizes {text!r}: expected sides in pixels, '
                          'such as 224,512,1024')
    return int(text)


def options_of(args: argparse.Namespace) -> Options:
    """How to measure."""
    if args.threads is not None:
        if args.threads < 1:
            raise ConfigError('--threads must be at least 1, but got '
                              f'{args.threads}')
        torch.set_num_threads(args.threads)
    if args.drop_path is not None and not 0 <= args.drop_path < 1:
        raise ConfigError('--drop-path must be in [0, 1), but got '
                          f'{args.drop_path:g}')
    return Options(
        sizes=[parse_size(s) for s in args.sizes],
        area_sizes=[_side(s) for s in args.area_sizes],
        only=args.only,
        dtype=args.dtype,
        device=args.device,
        runs=args.runs,
        warmup=args.warmup,
        seed=args.seed,
        new_shapes=args.new_shapes,
        skip_dropped=_SKIP[args.skip_dropped])


def subjects_of(args: argparse.Namespace) -> list:
    """What to compare."""
    if args.whole:
        if not args.config:
            raise ConfigError('--whole runs models: give their configs')
        return benchmark.models_from_configs(args.config, args.methods)
    how = (args.methods, args.against, args.drop_path, args.with_cp)
    if args.config:
        if args.arch:
            raise ConfigError(f'--arch {args.arch} goes without configs: '
                              'these say their own')
        return benchmark.from_configs(args.config, *how)
    return benchmark.from_arch(args.arch or 'tiny', *how, family=args.family)


def _check_chart(args: argparse.Namespace) -> None:
    if args.png and (args.against == ['none']
                     or not {'time', 'saved', 'memory'} & set(args.only)):
        raise ConfigError('--png draws ratios of time, saved activations and '
                          'peak memory: measure one of them (--only) against '
                          'something (--against)')


def main(argv=None) -> None:
    """Measure, print, write."""
    args = parse_args(argv)
    _check_chart(args)
    run = benchmark.whole if args.whole else benchmark.benchmark
    with quiet():
        result = run(subjects_of(args), options_of(args),
                     partial(print, flush=True))
    if args.json:
        with write_atomically(args.json) as path:
            Path(path).write_text(json.dumps(result, indent=1))
    if args.png:
        from mona_mm.research.benchmark.chart import draw_chart
        draw_chart(result, args.png)


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
