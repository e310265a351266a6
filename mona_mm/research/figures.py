"""Pictures of detections."""
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import cv2
import numpy as np
from mmengine.config import Config

from mona_mm.reports.gallery import side_by_side, write_picture
from mona_mm.research.shapes import PALETTE

_SCALE = 2


def draw_detections(predictions: Dict[str, Dict[str, dict]],
                    truths: Sequence[dict],
                    classes: Sequence[str],
                    path: Path,
                    count: int = 6,
                    threshold: float = 0.3) -> None:
    """Draw ground truth and every method's boxes, one column per picture.

    Args:
        predictions (dict): By method, by picture name: ``bboxes`` (K, 4) in
            pixels, ``scores`` (K, ) and ``labels`` (K, ).
        truths (Sequence[dict]): Of :func:`ground_truth`.
        classes (Sequence[str]): Their names.
        path (Path): A .png file.
        count (int): How many pictures. Defaults to 6.
        threshold (float): Lowest score drawn. Defaults to 0.3.
    """
    shown = [(t, cv2.imread(t['path'])) for t in truths[:count]]
    panels = {
        f'truth, {truth["name"]}': _with_boxes(
            image, truth['bboxes'], truth['labels'], classes)
        for truth, image in shown}
    for method, found in predictions.items():
        panels.update(
            (f'{method}, {truth["name"]}', _with_boxes(
                image, *_best(found[truth['name']], threshold), classes))
            for truth, image in shown)
    write_picture(str(path), side_by_side(panels, len(shown)))


def _best(found: dict, threshold: float) -> Tuple[np.ndarray, np.ndarray]:
    """The best box of each place, whatever its class, above a score."""
    from mmcv.ops import nms
    boxes, scores = (
        np.asarray(found[k], np.float32) for k in ('bboxes', 'scores'))
    kept = nms(boxes, scores, iou_threshold=0.5)[1]
    kept = kept[scores[kept] >= threshold]
    return boxes[kept], np.asarray(found['labels'])[kept]


def ground_truth(cfg: Config) -> List[dict]:
    """What is on the pictures that a config tests with, in their order.

    Args:
        cfg (Config): Of a detector of mmdet.

    Returns:
        list[dict]: ``name``, ``path``, ``bboxes`` (N, 4) in pixels and
        ``labels`` (N, ) of each.
    """
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules
    register_all_modules(init_default_scope=False)
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, pipeline=[]))
    truths = []
    for info in (dataset.get_data_info(i) for i in range(len(dataset))):
        objects = info['instances']
        truths.append(dict(
            name=Path(info['img_path']).stem, path=info['img_path'],
            bboxes=np.array([o['bbox'] for o in objects]),
            labels=np.array([o['bbox_label'] for o in objects])))
    return truths


def _with_boxes(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray,
                classes: Sequence[str]) -> np.ndarray:
    """A picture (H, W, 3), BGR, with boxes: twice as large, RGB."""
    image = cv2.resize(image, None, fx=_SCALE, fy=_SCALE)
    for box, label in zip(boxes, labels):
        x1, y1, x2, y2 = (int(v * _SCALE) for v in box)
        colour = PALETTE[label][::-1]
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)
        cv2.putText(image, classes[label], (x1 + 3, y1 + 13),
                    cv2.FONT_HERSHEY_SIMPLEX, .42, colour, 1, cv2.LINE_AA)
    return np.ascontiguousarray(image[..., ::-1])
