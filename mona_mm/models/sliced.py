"""Detection on large pictures, window by window, by any detector.

Where :mod:`mona_mm.models.windowed` is a benchmark's way to test, this is
for looking: it cuts before the test pipeline, so that each window is resized
as a whole picture would be.
"""
from typing import Any, Callable, List, Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mona_mm.data.tiling import Window, windows

from .windowed import shifted

#: Predicts pictures (H, W, 3), BGR: a sample with ``pred_instances`` each.
Predict = Callable[[List[np.ndarray]], Sequence[Any]]
#: A box at a window's border goes if so much of it is in a whole one.
_COVERED = 0.5


def predict_sliced(predict: Predict, pixels: np.ndarray, size: int, gap: int,
                   iou_threshold: float = 0.5) -> Any:
    """Detect in windows, and join what they find.

    An object that a window's border cuts is found twice: in part here and,
    if it is smaller than the overlap, whole in the next window. A box that
    touches a border within the picture therefore gives way to others of its
    class that cover it, whatever its score.

    Args:
        predict (Callable): The detector.
        pixels (np.ndarray): (H, W, 3).
        size (int): Side of a window.
        gap (int): How far neighbours overlap.
        iou_threshold (float): Of the boxes of one object, by class.

    Returns:
        BaseDataElement: A sample with ``pred_instances``: bboxes (N, 4) or
        (N, 5), scores, labels and, if the detector gives them, masks
        (N, H, W).
    """
    height, width = pixels.shape[:2]
    places = windows(width, height, size, gap)
    samples = list(predict([pixels[y1:y2, x1:x2]
                            for x1, y1, x2, y2 in places]))
    if len(places) == 1:
        return samples[0]
    found = [s.pred_instances for s in samples]
    boxes = torch.cat([shifted(f.bboxes, p) for f, p in zip(found, places)])
    scores = torch.cat([f.scores for f in found])
    labels = torch.cat([f.labels for f in found])
    cut = torch.cat([_cut(f.bboxes, p, width, height)
                     for f, p in zip(found, places)])
    window = torch.cat([torch.full((len(f), ), i)
                        for i, f in enumerate(found)])
    kept = _kept(boxes, scores, labels, cut, iou_threshold)
    joined = InstanceData(bboxes=boxes[kept], scores=scores[kept],
                          labels=labels[kept])
    if 'masks' in found[0]:
        first = np.cumsum([0, *map(len, found)])
        masks = torch.zeros(len(kept), height, width, dtype=torch.bool)
        for mask, index in zip(masks, kept.tolist()):
            i = int(window[index])
            x1, y1, x2, y2 = places[i]
            mask[y1:y2, x1:x2] = torch.as_tensor(
                found[i].masks[index - first[i]])
        joined.masks = masks
    whole = type(samples[0])(metainfo=dict(
        img_shape=(height, width), ori_shape=(height, width)))
    whole.pred_instances = joined
    return whole


def _cut(boxes: Tensor, place: Window, width: int, height: int,
         near: float = 2.) -> Tensor:
    """Which boxes (N, 4 or 5) touch a border of their window within the
    picture."""
    boxes = getattr(boxes, 'tensor', boxes)
    if boxes.shape[-1] == 5:  # their upright hulls
        x, y, w, h, angle = boxes.unbind(-1)
        cos, sin = angle.cos().abs(), angle.sin().abs()
        half = torch.stack([w * cos + h * sin, w * sin + h * cos], -1) / 2
        centre = torch.stack([x, y], -1)
        boxes = torch.cat([centre - half, centre + half], -1)
    x1, y1, x2, y2 = place
    return ((boxes[:, 0] < near) & (x1 > 0) | (boxes[:, 1] < near) & (y1 > 0)
            | (boxes[:, 2] > x2 - x1 - near) & (x2 < width)
            | (boxes[:, 3] > y2 - y1 - near) & (y2 < height))


def _kept(boxes: Tensor, scores: Tensor, labels: Tensor, cut: Tensor,
          threshold: float) -> Tensor:
    """Which boxes stay, best first: whole ones win over cut ones."""
    from mmcv.ops import box_iou_rotated, nms, nms_rotated
    from mmdet.structures.bbox import bbox_overlaps
    rotated = boxes.shape[-1] == 5
    suppress = nms_rotated if rotated else nms
    kept = []
    for label in labels.unique():
        index = (labels == label).nonzero().flatten()
        rank = scores[index].float() - cut[index].float()
        _, keep = suppress(boxes[index].float(), rank, threshold)
        index = index[keep]
        some, whole = boxes[index].float(), ~cut[index]
        part = (box_iou_rotated(some, some, mode='iof') if rotated
                else bbox_overlaps(some, some, mode='iof'))  # of the first
        part.fill_diagonal_(0)
        covered = (part[:, whole] > _COVERED).any(1)
        kept.append(index[whole | ~covered])
    if not kept:
        return labels.new_zeros(0)
    index = torch.cat(kept)
    return index[scores[index].argsort(descending=True)]
