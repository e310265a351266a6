"""Parts of mmdet that work as in the version of the paper."""
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope


@pytest.fixture(autouse=True, scope='module')
def _ops():
    pytest.importorskip('mmcv.ops')
    init_default_scope('mmdet')


HEAD = dict(
    num_classes=3, in_channels=4, feat_channels=4, stacked_convs=1,
    anchor_generator=dict(type='AnchorGenerator', scales=[1.], ratios=[1.],
                          strides=[8, 16]),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
    loss_cls=dict(type='FocalLoss', use_sigmoid=True))
#: Scores of the three classes at four places of the first level.
FIRST = torch.tensor([[.9, .8, .7], [.6, .55, .1], [.65, .02, .1],
                      [.03, .04, .01]])
SECOND = torch.tensor([[.3, .2, .01]])


def kept(**options):
    """Scores and places of what is left for NMS, two per level."""
    head = MODELS.build(dict(HEAD, type='mona_mm.RetinaHead', **options))
    maps = [scores.logit().T.reshape(3, n, n)
            for scores, n in ((FIRST, 2), (SECOND, 1))]
    boxes = [torch.zeros(4, n, n) for n in (2, 1)]
    (found, ) = head.predict_by_feat(
        [m[None] for m in maps], [b[None] for b in boxes],
        batch_img_metas=[dict(img_shape=(16, 16))],
        cfg=ConfigDict(nms_pre=2, score_thr=.05), with_nms=False)
    return sorted((round(float(score), 2), int(label)) for score, label in
                  zip(found.scores, found.labels))


def test_nms_pre_counts_anchors_and_the_threshold_comes_after():
    # The first level's best anchors are those with .9 and .65 (not .6), with
    # all their scores above .05; the second level has one anchor.
    assert kept() == sorted([
        (.9, 0), (.8, 1), (.7, 2), (.65, 0), (.1, 2), (.3, 0), (.2, 1)])


def test_pairs_of_anchor_and_class_are_an_option():
    assert kept(nms_pre_anchors=False) == sorted([
        (.9, 0), (.8, 1), (.3, 0), (.2, 1)])


def test_boxes_stay_with_their_scores():
    head = MODELS.build(dict(HEAD, type='mona_mm.RetinaHead'))
    head.init_weights()
    features = [torch.randn(2, 4, n, n) for n in (8, 4)]
    metas = [dict(img_shape=(64, 64))] * 2
    # No level has more anchors than this: nothing is cut off.
    cfg = ConfigDict(nms_pre=64, score_thr=0.)
    outs = head(features)
    ours = head.predict_by_feat(
        *outs, batch_img_metas=metas, cfg=cfg, with_nms=False)
    head.nms_pre_anchors = False
    theirs = head.predict_by_feat(
        *outs, batch_img_metas=metas, cfg=ConfigDict(cfg, nms_pre=10_000),
        with_nms=False)
    for a, b in zip(ours, theirs):
        assert torch.equal(a.scores, b.scores)
        assert torch.equal(a.bboxes, b.bboxes)


def test_head_has_the_keys_of_mmdets():
    ours = MODELS.build(dict(HEAD, type='mona_mm.RetinaHead')).state_dict()
    theirs = MODELS.build(dict(HEAD, type='RetinaHead')).state_dict()
    assert list(ours) == list(theirs)


EXTRACTOR = dict(
    type='mona_mm.SingleRoIExtractor', out_channels=1, featmap_strides=[1],
    roi_layer=dict(type='RoIAlign', output_size=2, sampling_ratio=1))


def test_proposals_are_not_rounded_under_mixed_precision():
    # A ramp along x. In bfloat16, 301 is 300: between 256 and 512 every
    # second number is there. The ramp's own steps of 4 are exact.
    ramp = (torch.arange(400.) // 4 * 4).expand(1, 1, 8, 400).bfloat16()
    rois = torch.tensor([[0., 301., 2., 309., 6.]])
    extract = MODELS.build(EXTRACTOR)
    found = extract([ramp], rois)
    assert found.dtype == torch.bfloat16
    # RoIAlign samples the centres of its two bins of 4, half a pixel aligned:
    # 301 + 2 - .5 = 302.5 and 306.5. The ramp rises from 300 to 304 between
    # 303 and 304, so that at 302.5 it is 300, at 306.5 it is 304.
    assert found[0, 0, 0].tolist() == [300., 304.]
    shifted = extract([ramp], rois + torch.tensor([0., 1., 0., 1., 0.]))
    # At 303.5, halfway up: 302, at 307.5: 306.
    assert shifted[0, 0, 0].tolist() == [302., 306.]


def test_features_get_gradients_of_their_type():
    feature = torch.randn(1, 1, 8, 8, dtype=torch.bfloat16,
                          requires_grad=True)
    rois = torch.tensor([[0., 1., 1., 5., 5.]])
    MODELS.build(EXTRACTOR)([feature], rois).float().sum().backward()
    assert feature.grad.dtype == torch.bfloat16
    assert feature.grad.abs().sum() > 0


def test_float32_features_give_what_mmdets_extractor_gives():
    feature, rois = torch.randn(1, 1, 16, 16), torch.rand(5, 4) * 6
    rois = torch.cat([torch.zeros(5, 1), rois[:, :2], rois[:, 2:] + 8], 1)
    ours = MODELS.build(EXTRACTOR)([feature], rois)
    for other in (dict(EXTRACTOR, type='SingleRoIExtractor'),
                  dict(EXTRACTOR, float32=False)):
        assert torch.equal(ours, MODELS.build(other)([feature], rois))
