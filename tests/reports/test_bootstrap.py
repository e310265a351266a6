"""mAP of pictures drawn again, against mmdet's mAP of the same pictures."""
import numpy as np
import pytest
from mmdet.evaluation import eval_map

from mona_mm.reports.bootstrap import Gap, compare, match, mean_ap

CLASSES = 3


def truths_of(rng, pictures):
    """One to four boxes per picture; some pictures lack some classes."""
    found = []
    for _ in range(pictures):
        corner = rng.uniform(0, 80, (rng.integers(1, 5), 2))
        side = rng.uniform(15, 40, corner.shape)
        found.append(dict(bboxes=np.hstack([corner, corner + side]),
                          labels=rng.integers(0, CLASSES, len(corner))))
    return found


def detections_of(rng, truths, shift):
    """The true boxes, moved a little or a lot, with wrong ones between."""
    found = []
    for truth in truths:
        moved = truth['bboxes'] + rng.normal(0, shift, (
            len(truth['bboxes']), 1))
        wrong = rng.uniform(0, 60, (3, 2))
        boxes = np.vstack([moved, np.hstack([wrong, wrong + 30])])
        labels = np.append(truth['labels'], rng.integers(0, CLASSES, 3))
        found.append(dict(bboxes=boxes.astype(np.float32), labels=labels,
                          scores=rng.random(len(boxes))))
    return found


def mmdets(found, truths) -> float:
    """mmdet's own value."""
    rows = [[np.column_stack([f['bboxes'], f['scores']])[
        f['labels'] == c].astype(np.float32) for c in range(CLASSES)]
        for f in found]
    return eval_map(rows, [
        dict(t, bboxes=t['bboxes'].astype(np.float32)) for t in truths],
        logger='silent', eval_mode='11points', nproc=1,
        use_legacy_coordinate=True)[0]


@pytest.mark.parametrize('seed', range(3))
def test_map_is_mmdets_on_the_pictures_as_they_are(seed):
    rng = np.random.default_rng(seed)
    truths = truths_of(rng, 12)
    found = detections_of(rng, truths, 6)
    ours = mean_ap(match(found, truths, CLASSES), np.ones(12, int))
    assert 0.05 < ours < 0.95
    assert ours == pytest.approx(mmdets(found, truths), abs=1e-6)


def test_a_picture_that_counts_twice_is_as_if_it_were_there_twice():
    rng = np.random.default_rng(5)
    truths = truths_of(rng, 8)
    found = detections_of(rng, truths, 6)
    weights = np.array([2, 0, 1, 3, 0, 1, 1, 0])
    chosen = np.repeat(np.arange(8), weights)
    ours = mean_ap(match(found, truths, CLASSES), weights)
    assert ours == pytest.approx(mmdets(
        [found[i] for i in chosen], [truths[i] for i in chosen]), abs=1e-6)


def test_equal_detectors_are_not_apart_and_the_draws_are_seeded():
    rng = np.random.default_rng(1)
    truths = truths_of(rng, 20)
    one, other = (match(detections_of(np.random.default_rng(s), truths, 6),
                        truths, CLASSES) for s in (1, 2))
    gaps = compare(dict(a=one, b=one, c=other), draws=50)
    assert gaps['a']['b'] == Gap(0, 0) and not gaps['a']['b'].clear
    assert gaps['a']['c'].difference == -gaps['c']['a'].difference
    assert gaps['a']['c'].error > 0
    assert compare(dict(a=one, c=other), draws=50)['a']['c'] == (
        gaps['a']['c'])
    assert compare(dict(a=one, c=other), draws=50, seed=1)['a']['c'] != (
        gaps['a']['c'])


def test_error_halves_with_four_times_the_pictures():
    errors = []
    for pictures in (60, 240):
        rng = np.random.default_rng(pictures)
        truths = truths_of(rng, pictures)
        good, bad = (match(detections_of(rng, truths, shift), truths,
                           CLASSES) for shift in (2, 6))
        gap = compare(dict(good=good, bad=bad), draws=200)['good']['bad']
        assert gap.clear and gap.difference > 0
        errors.append(gap.error)
    assert 0.35 < errors[1] / errors[0] < 0.7


@pytest.mark.parametrize('difference, clear', [
    (0.021, True), (-0.021, True), (0.02, False), (-0.019, False)])
def test_clear_is_beyond_two_errors(difference, clear):
    assert Gap(difference, 0.01).clear == clear
