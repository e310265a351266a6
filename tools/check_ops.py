#!/usr/bin/env python
"""Check that mmcv's compiled ops are there, by running some."""
import torch

NO_CUDA = """error: there is a GPU, but mmcv was built without CUDA ops. Build
it again where nvcc is (of the CUDA version that torch names):
  FORCE_CUDA=1 pip install --no-build-isolation --no-cache-dir --no-deps \\
      --force-reinstall onedl-mmcv==2.3.6"""


def main() -> None:
    """Run one op of each kind that the configs need."""
    from mmcv.ops import (
        RoIAlign,
        RoIAlignRotated,
        get_compiling_cuda_version,
        nms,
        nms_rotated,
    )
    boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 8., 9.]])
    scores = torch.tensor([.9, .8])
    kept = nms(boxes, scores, 0.5)[1].tolist()
    rotated = torch.cat([boxes + 5, torch.zeros(2, 1)], 1)
    kept_rotated = nms_rotated(rotated, scores, 0.1)[1].tolist()
    image = torch.ones(1, 1, 16, 16)
    rois = torch.tensor([[0., 2., 2., 9., 9.]])
    RoIAlign(2)(image, rois)
    RoIAlignRotated(2, 1., 2)(image, torch.tensor([[0., 5., 5., 4., 4., 0.]]))
    if kept != [0] or kept_rotated != [0]:
        raise SystemExit(f'error: mmcv.ops answers wrongly: {kept}, '
                         f'{kept_rotated}; expected [0], [0]')
    if torch.cuda.is_available():
        if get_compiling_cuda_version() == 'not available':
            raise SystemExit(NO_CUDA)
        nms(boxes.cuda(), scores.cuda(), 0.5)


if __name__ == '__main__':
    try:
        main()
    except (ImportError, ModuleNotFoundError, OSError) as error:
        raise SystemExit(f'error: mmcv was installed without its compiled '
                         f'ops, or for another torch ({error}); run '
                         'tools/install.sh') from None
    print('mmcv ops: present')
