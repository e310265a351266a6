"""Pascal VOC's AP: how large a box is."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import METRICS, init_default_scope
from mmengine.structures import InstanceData
from paths import ROOT


@pytest.fixture(autouse=True, scope='module')
def _scope():
    init_default_scope('mmdet')


def ap(found, truth, ignored=(), **options):
    """AP of one image and one class, finds in descending order."""
    metric = METRICS.build(dict(
        type='mona_mm.VOCMetric', metric='mAP', **options))
    metric.dataset_meta = dict(classes=('a', ))

    def instances(boxes, **more):
        n = len(boxes)
        return InstanceData(
            bboxes=torch.tensor(boxes).float().reshape(n, 4),
            labels=torch.zeros(n, dtype=torch.long), **more)

    metric.process({}, [dict(
        gt_instances=instances(truth), ignored_instances=instances(ignored),
        pred_instances=instances(
            found, scores=torch.linspace(1, .5, len(found))))])
    return metric.evaluate(1)['pascal_voc/mAP']


def test_box_is_as_wide_as_its_corners_are_apart():
    # 50 x 50, 17 off: (50 - 17) / (50 + 17) = 33 / 67 < 1 / 2.
    assert ap([[17, 0, 67, 50]], [[0, 0, 50, 50]]) == 0
    # One pixel less is 34 / 66.
    assert ap([[16, 0, 66, 50]], [[0, 0, 50, 50]]) == pytest.approx(1)


def test_extra_pixel_of_mmdet_3_is_an_option():
    # (51 - 17) / (51 + 17) = 34 / 68 = 1 / 2, which is enough.
    assert ap([[17, 0, 67, 50]], [[0, 0, 50, 50]],
              extra_pixel=True) == pytest.approx(1)


def test_ignored_boxes_are_measured_alike():
    # The better find is 17 beside an ignored box: it does not count if it
    # reaches it, and is wrong if not; then precision is 1 / 2 at full recall.
    found = [[17, 100, 67, 150], [0, 0, 50, 50]]
    truth, ignored = [[0, 0, 50, 50]], [[0, 100, 50, 150]]
    assert ap(found, truth, ignored, extra_pixel=True) == pytest.approx(1)
    assert ap(found, truth, ignored) == pytest.approx(.5)


def test_metric_of_the_benchmark_is_built_from_its_config():
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/voc0712.py')
    metric = METRICS.build(cfg.test_evaluator)
    assert metric.extra_pixel is False and metric.prefix == 'pascal_voc'
