#!/usr/bin/env python
"""Write base and delta as one file, for a plain backbone where possible.

LoRA, DoRA and SSF are folded into the weights. Adapters such as Mona cannot
be; the file then holds the tuned model in full.
"""
import argparse

from mona_mm.checkpoint.merge import merge_delta
from mona_mm.errors import UserError


def main(argv=None) -> None:
    """Merge, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', metavar='CONFIG', help='its config file')
    parser.add_argument('delta', metavar='DELTA', help='delta checkpoint')
    parser.add_argument(
        'out', metavar='OUT', help='file to write, .pth or .safetensors')
    args = parser.parse_args(argv)
    print('\n'.join(merge_delta(args.config, args.delta, args.out)))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
