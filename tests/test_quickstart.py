"""The quickstart's choices and pictures (its steps are the tools)."""
import cv2
import numpy as np
import pytest
from helpers import TUNERS

from mona_mm import quickstart
from mona_mm.errors import ConfigError
from mona_mm.figures import _best, draw_curves


@pytest.fixture(autouse=True)
def _at_root(root, monkeypatch):
    monkeypatch.chdir(root)


def test_all_methods_are_the_registered_ones():
    assert sorted(quickstart.choose(['all'])) == sorted(
        t.lower() for t in TUNERS)


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(ConfigError, match='monna; expected of adapter.*all'):
        quickstart.choose(['mona', 'monna'])


def test_one_box_is_drawn_per_place_and_none_below_the_score():
    found = dict(
        bboxes=np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30],
                         [50, 50, 60, 60]]),
        scores=np.array([.5, .9, .4, .1]), labels=np.array([0, 1, 2, 3]))
    boxes, labels = _best(found, threshold=.3)
    assert labels.tolist() == [1, 2]
    assert boxes[0].tolist() == [1, 0, 10, 10]


def test_curves_become_a_picture(tmp_path):
    draw_curves(dict(mona=[(1, 10.), (2, 20.)]), tmp_path / 'c.png')
    assert cv2.imread(str(tmp_path / 'c.png')).std() > 0
