"""How far apart detectors are, and how sure of it their test pictures are.

The pictures are drawn again with replacement, the same ones for every
detector, and mAP is computed of each draw (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, chapter 6). The standard deviation of a
difference over the draws is its standard error: what other pictures of the
same kind would change. What training again with another seed would change is
not in it.
"""
from typing import Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

#: Differences are told from zero beyond so many standard errors.
ERRORS = 2.0


class Matches(NamedTuple):
    """What a detector found, compared with the truth.

    Attributes:
        hits (list[ndarray]): By class, (K, ) bool in the order of falling
            scores: whether a detection is the first of its object.
        pictures (list[ndarray]): By class, (K, ) int: which picture each is
            on.
        objects (ndarray): (C, P), how many objects of each class there are on
            each picture.
    """
    hits: List[np.ndarray]
    pictures: List[np.ndarray]
    objects: np.ndarray


class Gap(NamedTuple):
    """By how much one detector is above another.

    Attributes:
        difference (float): Of their mAP on the pictures as they are.
        error (float): Its standard error.
    """
    difference: float
    error: float

    @property
    def clear(self) -> bool:
        """Whether it is more than :data:`ERRORS` standard errors from 0."""
        return abs(self.difference) > ERRORS * self.error


def match(found: Sequence[Mapping], truths: Sequence[Mapping], classes: int,
          iou: float = 0.5) -> Matches:
    """Compare detections with the truth as mmdet's VOCMetric does.

    Args:
        found (Sequence[Mapping]): Per picture, ``bboxes`` (K, 4), ``scores``
            (K, ) and ``labels`` (K, ).
        truths (Sequence[Mapping]): Per picture, ``bboxes`` (N, 4) and
            ``labels`` (N, ).
        classes (int): How many.
        iou (float): From which on a box is the object's.
    """
    from mmdet.evaluation.functional.mean_ap import tpfp_default
    none = np.zeros((0, 4), np.float32)
    matches = Matches([], [], np.zeros((classes, len(truths)), int))
    for label in range(classes):
        hits, scores, pictures = [], [], []
        for index, (ours, truth) in enumerate(zip(found, truths)):
            boxes, score, labels = (
                np.asarray(ours[k]) for k in ('bboxes', 'scores', 'labels'))
            chosen = labels == label
            objects = np.asarray(truth['bboxes'], np.float32).reshape(-1, 4)
            objects = objects[np.asarray(truth['labels'], int) == label]
            matches.objects[label, index] = len(objects)
            rows = np.column_stack([boxes[chosen], score[chosen]])
            hit, _ = tpfp_default(
                rows.astype(np.float32), objects, none, iou_thr=iou,
                use_legacy_coordinate=True)
            hits.append(hit[0] > 0)
            scores.append(score[chosen])
            pictures.append(np.full(int(chosen.sum()), index))
        order = np.argsort(-np.concatenate(scores), kind='stable')
        matches.hits.append(np.concatenate(hits)[order])
        matches.pictures.append(np.concatenate(pictures)[order])
    return matches


def mean_ap(matches: Matches, weights: np.ndarray) -> float:
    """VOC's eleven-point mAP, with some pictures counted several times.

    Args:
        matches (Matches): Of one detector.
        weights (ndarray): (P, ), how often each picture counts.
    """
    values = []
    for hits, pictures, objects in zip(*matches):
        number = objects @ weights
        if not number:
            continue
        weight = weights[pictures]
        found = np.cumsum(weight * hits)
        precision = found / np.maximum(np.cumsum(weight), 1)
        # The best precision at this recall or a higher one; 0 beyond all.
        best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0)
        levels = np.arange(0, 1 + 1e-3, 0.1)
        values.append(best[np.searchsorted(found / number, levels)].mean())
    return float(np.mean(values)) if values else 0.0


def compare(detectors: Mapping[str, Matches], draws: int = 1000,
            seed: int = 0) -> Dict[str, Dict[str, Gap]]:
    """Every detector against every other.

    Args:
        detectors (Mapping[str, Matches]): By name, on the same pictures.
        draws (int): How often pictures are drawn.
        seed (int): Of the draws.

    Returns:
        dict[str, dict[str, Gap]]: ``found[a][b]`` is by how much ``a`` is
        above ``b``.
    """
    number = next(iter(detectors.values())).objects.shape[1]
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(number, np.full(number, 1 / number), draws)
    whole = np.ones(number, int)
    points = {k: mean_ap(m, whole) for k, m in detectors.items()}
    spread = {k: np.array([mean_ap(m, w) for w in drawn])
              for k, m in detectors.items()}
    return {a: {b: Gap(points[a] - points[b],
                       float(np.std(spread[a] - spread[b], ddof=1)))
                for b in detectors if b != a} for a in detectors}
