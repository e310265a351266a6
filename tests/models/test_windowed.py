"""Whole images by windows: where boxes land, and which are doubles."""
from types import SimpleNamespace

import pytest
import torch
from helpers import NANO
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData
from paths import ROOT

from mona_mm.errors import ConfigError
from mona_mm.models import WindowedTest

WINDOWS = dict(size=64, gap=16, iou_threshold=0.4)
#: Detectors that STAR's leaves name, and what is small about the test's.
LEAVES = ('oriented_rcnn/oriented-rcnn_swin-b-mona_1x_star.py',
          'kld/kld-retinanet_swin-b_1x_star.py',
          'h2rbox_v2/h2rbox-v2_swin-b-mona_1x_star.py')


@pytest.fixture(autouse=True, scope='module')
def _ops():
    pytest.importorskip('mmcv.ops')
    init_default_scope('mmrotate')


def sample(shape, **meta):
    from mmdet.structures import DetDataSample
    return DetDataSample(metainfo=dict(
        img_id='a', img_shape=shape, ori_shape=shape, **meta))


class BrightPixels:
    """Finds a 9 x 5 box around every bright pixel; the value is the class.

    At a window's border it sees only a part, so its score is lower there.
    """

    def __init__(self, **kwargs):
        self.seen = []

    def test_step(self, data):
        self.seen.append([tuple(i.shape[-2:]) for i in data['inputs']])
        for image, out in zip(data['inputs'], data['data_samples']):
            assert tuple(image.shape[-2:]) == tuple(out.img_shape)
            y, x = image[0].nonzero(as_tuple=True)
            boxes = torch.stack(
                [x, y, *torch.tensor([[9], [5]]).expand(2, len(x)),
                 0 * x], 1).float()
            edge = torch.stack([x, y, image.shape[2] - x,
                                image.shape[1] - y]).amin(0).clamp(max=9)
            out.pred_instances = InstanceData(
                bboxes=boxes, scores=edge / 10, labels=image[0, y, x].long())
        return data['data_samples']


class Windowed(WindowedTest, BrightPixels):
    pass


def found(image, **windows):
    detector = Windowed(windows=dict(WINDOWS, **windows))
    (out, ) = detector.test_step(dict(
        inputs=[image], data_samples=[sample(tuple(image.shape[1:]))]))
    return detector, out


@pytest.mark.parametrize('batch_size', [1, 3])
def test_boxes_lie_where_they_are_in_the_image_once_each(batch_size):
    image = torch.zeros(3, 130, 200, dtype=torch.uint8)
    # In one window, in two, in four (overlaps at 48..64), at the border.
    places = {(10, 12): 1, (55, 20): 2, (55, 55): 3, (199, 129): 4}
    for (x, y), label in places.items():
        image[:, y, x] = label
    detector, out = found(image, batch_size=batch_size)
    boxes = out.pred_instances.bboxes
    assert {(int(b[0]), int(b[1])): int(label) for b, label in zip(
        boxes, out.pred_instances.labels)} == places
    assert len(boxes) == len(places)
    assert (boxes[:, 2:] == torch.tensor([9., 5., 0.])).all()
    # 200 wide: starts 0, 48, 96, 136; 130 high: 0, 48, 66.
    assert sum(map(len, detector.seen)) == 12
    assert max(map(len, detector.seen)) == batch_size


def padded(image, mean=(0., 0., 0.), **windows):
    """Test an image with a pad_divisor; what the network saw, the finds."""
    detector = Windowed(windows=dict(WINDOWS, pad_divisor=32, **windows))
    detector.data_preprocessor = SimpleNamespace(
        mean=torch.tensor(mean).reshape(3, 1, 1), _channel_conversion=True)
    (out, ) = detector.test_step(dict(
        inputs=[image], data_samples=[sample(tuple(image.shape[1:]))]))
    return detector, out


def test_windows_of_a_padded_image_are_all_of_full_size():
    image = torch.zeros(3, 130, 200, dtype=torch.uint8)
    places = {(10, 12): 1, (55, 55): 3, (199, 129): 4}
    for (x, y), label in places.items():
        image[:, y, x] = label
    detector, out = padded(image)
    # Padded to 224 x 160: starts 0, 48, 96, 144, 160, and 0, 48, 96.
    assert detector.seen == [[(64, 64)]] * 15
    assert {(int(b[0]), int(b[1])): int(label) for b, label in zip(
        out.pred_instances.bboxes, out.pred_instances.labels)} == places


def test_small_image_is_filled_up_with_the_mean(monkeypatch):
    seen = []

    def test_step(self, data):
        seen.extend(data['inputs'])
        for out in data['data_samples']:
            out.pred_instances = InstanceData(
                bboxes=torch.zeros(0, 5), scores=torch.zeros(0),
                labels=torch.zeros(0, dtype=torch.long))
        return data['data_samples']

    monkeypatch.setattr(BrightPixels, 'test_step', test_step)
    image = torch.full((3, 40, 50), 7, dtype=torch.uint8)
    padded(image, (123.675, 116.28, 103.53))  # RGB; pictures are BGR
    assert seen[0].shape == (3, 64, 64)
    assert (seen[0][:, :40, :50] == 7).all()
    assert torch.equal(seen[0][:, 63, 63],
                       torch.tensor([103.53, 116.28, 123.675]))
    assert torch.equal(seen[0][:, 0, 50], seen[0][:, 40, 0])


def test_best_score_of_doubles_stays_and_order_is_by_score():
    image = torch.zeros(3, 64, 112, dtype=torch.uint8)
    image[:, 30, 62] = 1  # 2 from the border of the first window
    image[:, 3, 20] = 1
    _, out = found(image)
    # 62 - 48 = 14 away from the second window's border: capped at 9.
    assert out.pred_instances.scores.tolist() == pytest.approx([.9, .3])


def test_doubles_of_another_class_stay():
    detector = Windowed(windows=WINDOWS)
    merged = InstanceData(
        bboxes=torch.tensor([[5., 5., 4., 4., 0.]] * 3),
        scores=torch.tensor([.5, .6, .7]), labels=torch.tensor([1, 2, 1]))
    from mona_mm.models.windowed import _merge
    kept = _merge([merged], detector.windows['iou_threshold'])
    assert sorted(kept.labels.tolist()) == [1, 2]
    assert kept.scores.tolist() == pytest.approx([.7, .6])


def test_image_without_finds_gives_empty_instances():
    _, out = found(torch.zeros(3, 130, 200, dtype=torch.uint8))
    assert out.pred_instances.bboxes.shape == (0, 5)


def test_labels_and_metainfo_of_the_image_are_kept():
    given = sample((64, 64))
    given.gt_instances = InstanceData(labels=torch.tensor([1]))
    (out, ) = Windowed(windows=WINDOWS).test_step(dict(
        inputs=[torch.zeros(3, 64, 64, dtype=torch.uint8)],
        data_samples=[given]))
    assert out.img_id == 'a' and out.gt_instances.labels.tolist() == [1]
    assert 'pred_instances' not in given


def test_resized_images_are_refused():
    with pytest.raises(ConfigError, match='leave Resize out'):
        Windowed(windows=WINDOWS).test_step(dict(
            inputs=[torch.zeros(3, 32, 32, dtype=torch.uint8)],
            data_samples=[sample((32, 32)).clone().new(metainfo=dict(
                img_shape=(32, 32), ori_shape=(64, 64)))]))


@pytest.mark.parametrize('bad', [dict(size=64), dict(WINDOWS, stride=3)])
def test_wrong_windows_are_refused(bad):
    with pytest.raises(ConfigError, match='windows has the keys'):
        Windowed(windows=bad)


@pytest.mark.parametrize('leaf', LEAVES)
def test_detector_of_a_star_leaf_finds_the_same_in_one_window(leaf):
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / 'configs' / leaf).model
    cfg.backbone.update(arch=NANO, allow_random_base=True, init_cfg=None)
    first = 4 - len(cfg.neck.in_channels)
    cfg.neck.update(in_channels=[16, 32, 64, 128][first:])
    if 'rpn_head' in cfg:
        cfg.roi_head.bbox_head.fc_out_channels = 16
        cfg.test_cfg.rcnn.score_thr = 0.02  # 49 classes: about 1 / 49
        cfg.test_cfg.rpn.max_per_img = 20
    else:
        cfg.test_cfg.score_thr = 0.
        cfg.test_cfg.nms_pre = 4
    # Without padding: 96 is no multiple of H2RBox-v2's 64.
    cfg.windows.update(size=96, gap=32, pad_divisor=32)
    detector = MODELS.build(cfg).eval()
    image = torch.randint(0, 255, (3, 96, 96), dtype=torch.uint8)
    data = dict(inputs=[image], data_samples=[
        sample((96, 96), scale_factor=(1., 1.))])
    (whole, ) = detector.test_step(data)
    (plain, ) = super(WindowedTest, detector).test_step(data)
    boxes = plain.pred_instances.bboxes
    boxes = getattr(boxes, 'tensor', boxes)
    assert 0 < len(whole.pred_instances) <= len(boxes)
    # Merging with 0.4 removes nothing that NMS with 0.1 left.
    order = plain.pred_instances.scores.argsort(descending=True)
    assert torch.allclose(whole.pred_instances.scores,
                          plain.pred_instances.scores[order])
    # A smaller image is what it is with the mean around it.
    filled = torch.tensor([103.53, 116.28, 123.675]).reshape(3, 1, 1).repeat(
        1, 96, 96)
    filled[:, :90] = image[:, :90]
    small, by_hand = (detector.test_step(dict(inputs=[i], data_samples=[
        sample(tuple(i.shape[1:]))]))[0] for i in (image[:, :90], filled))
    assert torch.equal(small.pred_instances.scores,
                       by_hand.pred_instances.scores)
    assert len(small.pred_instances)
    # Two windows side by side: some boxes lie beyond the first.
    wide = torch.cat([image, image], 2)
    (out, ) = detector.test_step(dict(
        inputs=[wide], data_samples=[sample((96, 192))]))
    assert out.pred_instances.bboxes[:, 0].max() > 96
