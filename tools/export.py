#!/usr/bin/env python
"""Export a trained model: ONNX, TorchScript or torch.export.

The file is kept only if it computes what PyTorch computes.
"""
import argparse
import warnings

from mona_mm.doctor.memory import picture_size
from mona_mm.engine import launch
from mona_mm.engine.export import FORMATS, export
from mona_mm.engine.quiet import quiet
from mona_mm.errors import UserError


def main(argv=None) -> None:
    """Export, and say what the file takes and gives."""
    parser = argparse.ArgumentParser(description=__doc__)
    launch.add_common_arguments(parser)
    parser.add_argument('checkpoint', metavar='CHECKPOINT',
                        help='a delta, or a file in full')
    parser.add_argument('out', metavar='OUT', help='file to write')
    parser.add_argument(
        '--format', choices=list(FORMATS), default='onnx',
        help='; '.join(f'{k}: {v[0]} ({v[1]})' for k, v in FORMATS.items()))
    parser.add_argument('--shape', nargs=2, type=int, metavar=('H', 'W'),
                        help="default: as large as the config's training "
                        'pictures')
    parser.add_argument(
        '--dynamic-size', action='store_true',
        help='a graph for other sizes too; not every backbone has one')
    args = parser.parse_args(argv)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of exporters, about themselves
        cfg = launch.load_config(args)
        shape = args.shape or picture_size(cfg)
        if not shape:
            raise UserError(f'{args.config} does not say how large its '
                            'training pictures are: give --shape H W')
        lines = export(cfg, args.checkpoint, args.out, args.format, shape,
                       args.dynamic_size)
    print('\n'.join(lines))


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        raise SystemExit(f'error: {error}') from None
