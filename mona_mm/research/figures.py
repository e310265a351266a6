"""Pictures of detections."""
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import cv2
import numpy as np
from mmengine.config import Config

from mona_mm.research.shapes import PALETTE

_SCALE = 2


def draw_detections(predictions: Dict[str, Dict[str, dict]],
                    cfg: Config,
                    path: Path,
                    count: int = 6,
                    threshold: float = 0.3) -> None:
    """Draw ground truth and every method's boxes, one column per picture.

    Args:
        predictions (dict): By method, by picture name: ``bboxes`` (K, 4) in
            pixels, ``scores`` (K, ) and ``labels`` (K, ).
        cfg (Config): Where the test dataset is described.
        path (Path): A .png file.
        count (int): How many pictures. Defaults to 6.
        threshold (float): Lowest score drawn. Defaults to 0.3.
    """
    truths = _ground_truth(cfg)[:count]
    classes = cfg.metainfo['classes']
    rows = [_row('truth', [
        _with_boxes(image, boxes, labels, classes)
        for _, image, boxes, labels in truths])]
    for method, found in predictions.items():
        tiles = []
        for name, image, *_ in truths:
            boxes, labels = _best(found[name], threshold)
            tiles.append(_with_boxes(image, boxes, labels, classes))
        rows.append(_row(method, tiles))
    cv2.imwrite(str(path), np.concatenate(rows))


def _best(found: dict, threshold: float) -> Tuple[np.ndarray, np.ndarray]:
    """The best box of each place, whatever its class, above a score."""
    from mmcv.ops import nms
    boxes, scores = (
        np.asarray(found[k], np.float32) for k in ('bboxes', 'scores'))
    kept = nms(boxes, scores, iou_threshold=0.5)[1]
    kept = kept[scores[kept] >= threshold]
    return boxes[kept], np.asarray(found['labels'])[kept]


def _ground_truth(cfg: Config) -> list:
    from mmdet.registry import DATASETS
    from mmdet.utils import register_all_modules
    register_all_modules(init_default_scope=False)
    dataset = DATASETS.build(dict(cfg.test_dataloader.dataset, pipeline=[]))
    truths = []
    for info in (dataset.get_data_info(i) for i in range(len(dataset))):
        objects = info['instances']
        truths.append((Path(info['img_path']).stem,
                       cv2.imread(info['img_path']),
                       np.array([o['bbox'] for o in objects]),
                       np.array([o['bbox_label'] for o in objects])))
    return truths


def _with_boxes(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray,
                classes: Sequence[str]) -> np.ndarray:
    image = cv2.resize(image, None, fx=_SCALE, fy=_SCALE)
    for box, label in zip(boxes, labels):
        x1, y1, x2, y2 = (int(v * _SCALE) for v in box)
        colour = PALETTE[label][::-1]
        cv2.rectangle(image, (x1, y1), (x2, y2), colour, 2)
        cv2.putText(image, classes[label], (x1 + 3, y1 + 13),
                    cv2.FONT_HERSHEY_SIMPLEX, .42, colour, 1, cv2.LINE_AA)
    return image


def _row(title: str, tiles: List[np.ndarray]) -> np.ndarray:
    height = tiles[0].shape[0]
    label = np.full((height, 110, 3), 255, np.uint8)
    cv2.putText(label, title, (6, height // 2), cv2.FONT_HERSHEY_SIMPLEX, .5,
                (0, 0, 0), 1, cv2.LINE_AA)
    gap = np.full((height, 4, 3), 255, np.uint8)
    parts = [label]
    for tile in tiles:
        parts += [gap, tile]
    row = np.concatenate(parts, axis=1)
    return np.pad(row, ((4, 0), (0, 0), (0, 0)), constant_values=255)
