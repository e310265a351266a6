"""Pascal VOC's AP with the box sizes of mmdet 2.11."""
import numpy as np
from mmdet.evaluation import VOCMetric as MMDetVOCMetric

from mona_mm.registry import METRICS


@METRICS.register_module()
class VOCMetric(MMDetVOCMetric):
    """mmdet's metric, without the extra pixel that mmdet 3.x adds.

    A box is ``x2 - x1`` wide in mmdet 2.11, with which the paper's numbers
    were made, and ``x2 - x1 + 1`` in mmdet 3.x, as in the official kit. With
    the pixel a box of 50 x 50 that is 17 off reaches an IoU of
    34 / 68 = 0.5, without it 33 / 67.

    Args:
        extra_pixel (bool): Add it, as mmdet 3.x does. Defaults to False.
        **kwargs: See mmdet's ``VOCMetric``.
    """

    def __init__(self, extra_pixel: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.extra_pixel = extra_pixel

    def compute_metrics(self, results: list) -> dict:
        """Compute the metrics from what ``process`` collected."""
        if not self.extra_pixel:
            # mmdet's function adds 1 to every side: (x2 - 1) - x1 + 1.
            results = [(dict(truth, bboxes=_shrunk(truth['bboxes']),
                             bboxes_ignore=_shrunk(truth['bboxes_ignore'])),
                        [_shrunk(found) for found in classes])
                       for truth, classes in results]
        return super().compute_metrics(results)


def _shrunk(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4 or more) as x1, y1, x2, y2, ..., one pixel smaller."""
    boxes = boxes.copy()
    boxes[:, 2:4] -= 1
    return boxes
