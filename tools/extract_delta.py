#!/usr/bin/env python
"""Leave the frozen base out of a full checkpoint: a few MB remain."""
import argparse

from mona_mm.checkpoint.extract import extract_delta
from mona_mm.errors import UserError


def main(argv=None) -> None:
    """Extract, and say in one line what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('full', metavar='FULL', help='full checkpoint')
    parser.add_argument(
        'out', metavar='OUT', help='file to write, .pth or .safetensors')
    parser.add_argument(
        '--config', help='its config (default: the one inside FULL); '
        'model.backbone.init_cfg must name the base it was trained on')
    args = parser.parse_args(argv)
    print(extract_delta(args.full, args.out, args.config))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
