#!/usr/bin/env python
"""Strip a checkpoint to weights and meta, and name it by its hash."""
import argparse

from mona_mm.checkpoint.publish import publish
from mona_mm.errors import UserError


def main(argv=None) -> None:
    """Publish, and print the name of the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='IN', help='checkpoint')
    parser.add_argument(
        'out', metavar='OUT', help='file to write, .pth or .safetensors; the '
        'first eight hex digits of its sha256 are added to the name')
    args = parser.parse_args(argv)
    print(publish(args.source, args.out))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
