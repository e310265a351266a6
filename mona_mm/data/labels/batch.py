"""Labels of a batch, as they come out of a data loader."""
from typing import Any, Iterator, List

import torch

#: mmseg's and mmdet's usual value of a pixel that counts for nothing.
IGNORED = 255


def samples_of(batch: Any) -> Iterator[Any]:
    """The data samples of a batch, those of several branches too.

    Args:
        batch (dict): What a data loader yields; anything else has none.
    """
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    groups = samples.values() if isinstance(samples, dict) else [samples]
    for group in groups:
        if isinstance(group, (list, tuple)):
            yield from group


def is_labelled(sample: Any, ignored: int = IGNORED) -> bool:
    """Whether a sample has a pixel, box or class to learn from.

    Samples without any of these fields (other tasks) count as labelled.

    Args:
        sample (BaseDataElement): Of mmdet, mmseg, mmpretrain or mmrotate.
        ignored (int): The value of pixels that count for nothing.
    """
    given = False
    if 'gt_sem_seg' in sample:
        given = True
        if bool((sample.gt_sem_seg.data != ignored).any()):
            return True
    if 'gt_instances' in sample:
        given = True
        if len(sample.gt_instances):
            return True
    return not given


def flat_boxes(batch: Any) -> List[str]:
    """Boxes of a batch that have no area, and their pictures.

    Args:
        batch (dict): What a data loader yields.
    """
    found = []
    for sample in samples_of(batch):
        boxes = getattr(getattr(sample, 'gt_instances', None), 'bboxes', None)
        if boxes is None or not len(boxes):
            continue
        raw = boxes.tensor if hasattr(boxes, 'tensor') else boxes
        flat = torch.as_tensor(_areas(boxes)) <= 0
        if flat.any():
            numbers = [round(v, 2) for v in raw[flat.nonzero()[0, 0]].tolist()]
            found.append(f'{getattr(sample, "img_path", "a picture")} '
                         f'({int(flat.sum())}, such as {numbers})')
    return found


def _areas(boxes: Any) -> torch.Tensor:
    """Areas (N, ) of box objects, or of corners (N, 4)."""
    if hasattr(boxes, 'areas'):
        return boxes.areas
    sides = (boxes[:, 2:4] - boxes[:, :2]) if boxes.size(1) == 4 else (
        boxes[:, 2:4])  # centre, width, height, angle
    return sides.clamp(min=0).prod(1)
