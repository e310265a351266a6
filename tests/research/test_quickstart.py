"""The quickstart's choices and pictures (its steps are the tools)."""
import json

import numpy as np
import pytest
from helpers import TUNERS

from mona_mm.errors import ConfigError
from mona_mm.research import quickstart
from mona_mm.research.figures import _best


@pytest.fixture(autouse=True)
def _at_root(root, monkeypatch):
    monkeypatch.chdir(root)


def test_all_methods_are_the_registered_ones():
    assert sorted(quickstart.choose(['all'])) == sorted(
        t.lower() for t in TUNERS)


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ConfigError, match='monna; expected of full.*all'):
        quickstart.choose(['mona', 'monna'])


def test_one_box_is_drawn_per_place_and_none_below_the_score():
    found = dict(
        bboxes=np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30],
                         [50, 50, 60, 60]]),
        scores=np.array([.5, .9, .4, .1]), labels=np.array([0, 1, 2, 3]))
    boxes, labels = _best(found, threshold=.3)
    assert labels.tolist() == [1, 2]
    assert boxes[0].tolist() == [1, 0, 10, 10]


def test_seconds_are_of_the_fastest_stretch_of_training(tmp_path):
    log = tmp_path / '20260101_000000/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text('\n'.join(json.dumps(line) for line in (
        dict(loss=2., time=.5, iter=40, epoch=1, step=40),
        {'pascal_voc/mAP': .25, 'time': .1, 'step': 1},
        dict(loss=1., time=.25, iter=80, epoch=2, step=80),
        {'pascal_voc/mAP': .5, 'time': .1, 'step': 2})))
    assert quickstart.seconds_per_step(tmp_path) == .25
