"""Detection by windows: every object once, wherever borders cut."""
import cv2
import numpy as np
import pytest
import torch
from helpers import NANO
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.structures import InstanceData
from paths import ROOT

from mona_mm.models.sliced import predict_sliced

pytest.importorskip('mmcv.ops')
SIZE, GAP = 64, 24
#: x, y, width, height; all smaller than the overlap. Borders of windows are
#: at 40, 64, 80 and 104 in both directions.
BOXES = [(5, 6, 12, 9), (58, 10, 12, 20), (36, 50, 10, 20), (99, 98, 14, 14),
         (70, 60, 20, 8), (140, 130, 10, 10), (38, 100, 3, 3)]


def blobs(rotated=False, masks=False):
    """A detector: bright blobs, the class is the brightness.

    A blob that a border cuts scores higher than a whole one, the worst case.
    """
    from mmdet.structures import DetDataSample

    def detect(pictures):
        return [found(picture) for picture in pictures]

    def found(picture):
        height, width = picture.shape[:2]
        count, parts = cv2.connectedComponents((picture[..., 0] > 0).astype(
            np.uint8), connectivity=8)
        boxes, scores, labels, shapes = [], [], [], []
        for i in range(1, count):
            y, x = np.nonzero(parts == i)
            at_border = min(x.min(), y.min(), width - 1 - x.max(),
                            height - 1 - y.max()) == 0
            hull = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            if rotated:
                x1, y1, x2, y2 = hull
                hull = [(x1 + x2) / 2, (y1 + y2) / 2, y2 - y1, x2 - x1,
                        np.pi / 2]  # its height first
            boxes.append(hull)
            scores.append(.9 if at_border else .6)
            labels.append(int(picture[y[0], x[0], 0]) // 50)
            shapes.append(parts == i)
        sample = DetDataSample()
        sample.pred_instances = InstanceData(
            bboxes=torch.tensor(np.array(boxes)).float().reshape(
                -1, 5 if rotated else 4),
            scores=torch.tensor(scores),
            labels=torch.tensor(labels, dtype=torch.long))
        if masks:
            sample.pred_instances.masks = torch.from_numpy(np.array(
                shapes, bool).reshape(-1, height, width))
        return sample

    return detect


def drawn(boxes=BOXES, size=160):
    picture = np.zeros((size, size, 3), np.uint8)
    for i, (x, y, w, h) in enumerate(boxes):
        picture[y:y + h, x:x + w] = 50 * (1 + i % 3)
    return picture


@pytest.mark.parametrize('rotated', [False, True])
def test_every_object_is_found_once_and_whole(rotated):
    found = predict_sliced(blobs(rotated), drawn(), SIZE, GAP).pred_instances
    if rotated:
        x, y, w, h = found.bboxes[:, :4].unbind(-1)
        found.bboxes = torch.stack([x - h / 2, y - w / 2, h, w], -1)
    else:
        found.bboxes[:, 2:] -= found.bboxes[:, :2]
    boxes = {tuple(b.round().int().tolist()): int(label)
             for b, label in zip(found.bboxes, found.labels)}
    assert boxes == {b: 1 + i % 3 for i, b in enumerate(BOXES)}
    assert len(found) == len(BOXES)


def test_masks_lie_where_the_objects_are():
    picture = drawn()
    found = predict_sliced(
        blobs(masks=True), picture, SIZE, GAP).pred_instances
    assert found.masks.shape == (len(BOXES), 160, 160)
    together = found.masks.any(0).numpy()
    assert np.array_equal(together, picture[..., 0] > 0)
    for mask, box in zip(found.masks, found.bboxes):
        y, x = mask.nonzero(as_tuple=True)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_object_larger_than_the_overlap_is_kept_in_its_parts():
    """Nothing is lost: 100 pixels fit no window of 64."""
    found = predict_sliced(
        blobs(), drawn([(30, 30, 100, 10)]), SIZE, GAP).pred_instances
    covered = np.zeros(160, bool)
    for x1, _, x2, _ in found.bboxes.int().tolist():
        covered[x1:x2] = True
    assert covered[30:130].all() and covered.sum() == 100


def test_doubles_of_other_classes_stay():
    first, second = drawn([(58, 10, 12, 20)]), drawn([])
    both = np.where(first, first, second)
    one = predict_sliced(blobs(), both, SIZE, GAP).pred_instances

    def two_classes(pictures):
        for picture in pictures:
            sample, = blobs()([picture])
            other = sample.pred_instances.clone()
            other.labels = other.labels + 1
            sample.pred_instances = InstanceData.cat(
                [sample.pred_instances, other])
            yield sample

    two = predict_sliced(two_classes, both, SIZE, GAP).pred_instances
    assert len(one) == 1 and sorted(two.labels.tolist()) == [1, 2]


@pytest.mark.parametrize('rotated', [False, True])
def test_picture_with_nothing_in_it(rotated):
    found = predict_sliced(
        blobs(rotated), drawn([]), SIZE, GAP).pred_instances
    assert found.bboxes.shape == (0, 5 if rotated else 4)


def test_smaller_picture_is_predicted_as_it_is():
    picture, seen = drawn(BOXES[:1], 50), []

    def detect(pictures):
        seen.extend(pictures)
        return blobs()(pictures)

    found = predict_sliced(detect, picture, SIZE, GAP)
    assert len(seen) == 1 and seen[0].shape == (50, 50, 3)
    assert len(found.pred_instances) == 1


def test_real_detector_finds_the_same_in_each_of_two_equal_halves():
    from mmdet.apis import DetInferencer
    torch.manual_seed(0)
    cfg = Config.fromfile(
        ROOT / 'configs/quickstart/retinanet_swin-nano-mona_shapes.py')
    cfg.model.backbone.update(arch=NANO, allow_random_base=True,
                              init_cfg=None)
    cfg.model.neck.in_channels = [32, 64, 128]
    cfg.model.test_cfg.update(score_thr=0., max_per_img=10)
    init_default_scope('mmdet')
    state = MODELS.build(cfg.model).state_dict()
    inferencer = DetInferencer(cfg, device='cpu', show_progress=False)
    inferencer.model.load_state_dict(state)

    def detect(pictures):
        return inferencer(pictures, return_datasamples=True)['predictions']

    half = np.random.default_rng(0).integers(
        0, 255, (128, 128, 3), np.uint8)
    alone, = detect([half])
    # Edge to edge; nothing overlaps, so nothing is suppressed between them.
    both = predict_sliced(detect, np.concatenate([half, half], 1), 128, 0,
                          iou_threshold=1.).pred_instances
    DefaultScope._instance_dict.clear()
    scores = alone.pred_instances.scores
    left = both.bboxes[:, [0, 2]].mean(1) < 128
    assert len(both) and left.any() and not left.all()
    for part, shift in ((both[left], 0), (both[~left], 128)):
        for box, score in zip(part.bboxes, part.scores):
            index = (scores - score).abs().argmin()
            expected = alone.pred_instances.bboxes[index].clone()
            expected[[0, 2]] += shift
            assert torch.allclose(box, expected, atol=1e-3)
