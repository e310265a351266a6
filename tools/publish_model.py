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
    parser.add_argument(
        '--hub', metavar='USER/NAME', help='upload it, with a model card '
        'made of the run.json beside IN, to this repository on the Hugging '
        'Face hub (or on HF_ENDPOINT)')
    parser.add_argument('--license', help='for the card, such as apache-2.0')
    parser.add_argument('--private', action='store_true',
                        help='a repository that is made is private')
    parser.add_argument('--dry-run', action='store_true',
                        help='with --hub: print the card, upload nothing')
    args = parser.parse_args(argv)
    if args.hub is None:
        print(publish(args.source, args.out))
        return
    from mona_mm.reports import card
    card.check_name(args.hub)
    path = publish(args.source, args.out)
    run = card.run_of(args.source)
    text = card.model_card(path, args.hub, args.license, run)
    print(path)
    if args.dry_run:
        print(text)
    else:
        print(card.upload(path, args.hub, text, run, args.private))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
