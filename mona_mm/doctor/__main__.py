"""Look at the installation and, if one is given, at a config.

Ends with 1 if anything is wrong.
"""
import argparse
import sys

from .finding import show
from .stack import check_stack


def main(argv=None) -> int:
    """Examine; return the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if any(word in ('-h', '--help') for word in words) and _importable():
        words, sound = ['--help'], True
    else:
        print('mona_mm doctor')
        sound = show('Stack', check_stack())
    if not words:
        return not sound
    if not _importable():
        print('\nThe config was not looked at: mmengine does not import.')
        return 1
    return not (_config(words) and sound)


def _importable() -> bool:
    try:
        import mmengine  # noqa: F401
        return True
    except Exception:
        return False


def _config(words) -> bool:
    from mona_mm.engine import launch
    from mona_mm.engine.quiet import quiet
    from mona_mm.errors import UserError

    from .config import check_config
    parser = argparse.ArgumentParser(
        prog='python -m mona_mm.doctor', description=__doc__,
        usage='%(prog)s [config] [--size H W] [--tuner TUNER] '
        '[--cfg-options KEY=VALUE ...] ...')
    launch.add_common_arguments(parser)
    parser.add_argument(
        '--size', nargs=2, type=int, metavar=('H', 'W'),
        help='estimate the memory for pictures of this size')
    args = parser.parse_args(words)
    with quiet():
        try:
            cfg = launch.load_config(args)
        except UserError as error:
            print(f'\nConfig\n  WRONG  {error}')
            return False
        return show(f'Config {args.config}', check_config(cfg, args.size))


if __name__ == '__main__':
    sys.exit(main())
