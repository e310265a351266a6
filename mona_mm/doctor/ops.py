"""Are mmcv's compiled ops there, and do they answer rightly?"""
import torch

NO_CUDA = (
    'there is a GPU, but mmcv was built without CUDA ops. Build it again '
    'where nvcc is (of the CUDA version that torch names): FORCE_CUDA=1 pip '
    'install --no-build-isolation --no-cache-dir --no-deps --force-reinstall '
    'onedl-mmcv==2.3.6')


def check_ops() -> str:
    """Run one op of each kind that the configs need.

    Returns:
        str: What is there.

    Raises:
        ImportError: If the ops are missing, or made for another torch.
        RuntimeError: If one answers wrongly, or cannot use the GPU.
    """
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
    RoIAlign(2)(image, torch.tensor([[0., 2., 2., 9., 9.]]))
    RoIAlignRotated(2, 1., 2)(image, torch.tensor([[0., 5., 5., 4., 4., 0.]]))
    if kept != [0] or kept_rotated != [0]:
        raise RuntimeError(f'mmcv.ops answers wrongly: {kept}, '
                           f'{kept_rotated}; expected [0], [0]')
    if not torch.cuda.is_available():
        return 'present (CPU)'
    if get_compiling_cuda_version() == 'not available':
        raise RuntimeError(NO_CUDA)
    nms(boxes.cuda(), scores.cuda(), 0.5)
    return 'present (CPU and CUDA)'
