"""Arithmetic on curves, and the files that are drawn."""
import cv2
import matplotlib
import numpy as np
import pandas as pd
import pytest
from curve_logs import lines_of, texts_of

from mona_mm.errors import ConfigError
from mona_mm.reports.curves import mean_of_runs, running_mean
from mona_mm.reports.figure import Line, Panel, draw
from mona_mm.reports.styles import method_styles

METHODS = method_styles()


def curve(points):
    return pd.Series(dict(points), dtype=float)


def draw_panels(panels, out, **options):
    """Draw (x, y) pairs, by title and label."""
    return draw([
        Panel({label: line if isinstance(line, Line) else Line(curve(line))
               for label, line in lines.items()}, 'iterations',
              'training loss', title)
        for title, lines in panels.items()], out, **options)


POINTS = [(1, 3.), (2, 2.), (3, 1.), (4, 1.)]


def test_running_mean_is_of_the_last_points():
    four = curve([(10, 1.), (20, 2.), (30, 3.), (40, 7.)])
    assert list(running_mean(four, 2)) == [1., 1.5, 2.5, 5.]
    assert list(running_mean(four, 3)) == [1., 1.5, 2., 4.]
    assert list(running_mean(four, 1)) == [1., 2., 3., 7.]
    with pytest.raises(ConfigError, match='1 point or more, but got 0'):
        running_mean(four, 0)


def test_running_mean_does_not_hide_a_loss_that_is_not_a_number():
    found = running_mean(curve([(1, 1.), (2, np.nan), (3, 3.), (4, 5.)]), 2)
    assert list(found.isna()) == [False, True, True, False]


def test_mean_of_runs_is_where_all_have_a_value():
    line = mean_of_runs([curve(points) for points in (
        [(1, 1.), (2, 2.), (3, 9.)], [(2, 4.), (1, 2.)], [(1, 6.), (2, 0.)])])
    assert dict(line.mean) == {1: 3., 2: 2.}
    assert dict(line.low) == {1: 1., 2: 0.}
    assert dict(line.high) == {1: 6., 2: 4.} and line.runs == 3


def test_runs_without_a_common_step_have_no_mean():
    with pytest.raises(ConfigError, match='2 runs have no step in common'):
        mean_of_runs([curve([(1, 1.)]), curve([(2, 1.)])])


def test_svg_has_every_line_and_its_label_as_text(tmp_path):
    names = ['Mona', 'Full', 'LoRA', 'BitFit']
    path, = draw_panels(
        {'one': {name: POINTS for name in names}, 'two': {'Mona': POINTS}},
        tmp_path / 'c', formats=['svg'], title='Both')
    assert {*names, 'one', 'two', 'Both', 'iterations',
            'training loss'} <= set(texts_of(path))
    found = {m: lines_of(path, METHODS[m], len(POINTS)) for m in METHODS}
    assert {m: n for m, n in found.items() if n} == dict(
        mona=2, full=1, lora=1, bitfit=1)


@pytest.mark.parametrize('label', ['_a', '$x^2$', 'R&D <b>', 'ä%s{0}'])
def test_label_is_written_as_it_is(tmp_path, label):
    path, = draw_panels({'': {label: POINTS}}, tmp_path / 'c',
                        formats=['svg'])
    assert label in texts_of(path)


def test_number_of_runs_is_told(tmp_path):
    runs = mean_of_runs([curve(POINTS), curve(POINTS) + 1])
    same, = draw_panels({'': dict(Mona=runs)}, tmp_path / 'a',
                        formats=['svg'])
    assert {'Mona', 'line: mean of 2 runs', 'band: lowest to highest'} <= {
        *texts_of(same)}
    mixed, = draw_panels({'': dict(Mona=runs, Full=POINTS)}, tmp_path / 'b',
                         formats=['svg'])
    assert {'Mona (2 runs)', 'Full'} <= set(texts_of(mixed))


def test_limits_hold_and_values_that_are_not_finite_are_gaps(tmp_path):
    points = [(1, 1.), (2, float('nan')), (3, float('inf')), (4, 2.)]
    path, = draw_panels({'': dict(Mona=points)}, tmp_path / 'c',
                        formats=['svg'], ylim=(0, 40))
    assert '40' in texts_of(path) and '0' in texts_of(path)
    with pytest.raises(ConfigError, match='lower limit first, but got 2 1'):
        draw_panels({'': dict(Mona=points)}, tmp_path / 'c', ylim=(2, 1))


def test_equal_curves_are_equal_files(tmp_path):
    first, second = (draw_panels(
        {'': dict(Mona=POINTS)}, tmp_path / name, formats=['svg', 'pdf'])
        for name in 'ab')
    for one, two in zip(first, second):
        assert one.read_bytes() == two.read_bytes()


def test_drawing_leaves_settings_and_folders_as_they_were(tmp_path):
    before = dict(matplotlib.rcParams)
    draw_panels({'': dict(Mona=POINTS)}, tmp_path / 'new/c')
    assert dict(matplotlib.rcParams) == before
    assert sorted(p.name for p in (tmp_path / 'new').iterdir()) == [
        'c.png', 'c.svg']


def test_unknown_format_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match="png, svg, pdf, but got 'jpg'"):
        draw_panels({'': dict(Mona=POINTS)}, tmp_path / 'c',
                    formats=['png', 'jpg'])
    assert not list(tmp_path.iterdir())


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='cannot write .*file/c.png: '
                       'File exists .*file.$'):
        draw_panels({'': dict(Mona=POINTS)}, tmp_path / 'file/c')
    (tmp_path / 'd.png').mkdir()
    with pytest.raises(ConfigError, match='cannot write .*d.png: Is a direct'):
        draw_panels({'': dict(Mona=POINTS)}, tmp_path / 'd')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['d.png', 'file']


def test_nothing_to_draw_is_told(tmp_path):
    with pytest.raises(ConfigError, match='there is no curve'):
        draw_panels({'one': {}}, tmp_path / 'c')


def test_band_reaches_from_the_lowest_to_the_highest_run(tmp_path):
    flat = mean_of_runs([curve([(0, y), (1, y)]) for y in (1., 3.)])
    path, = draw_panels({'': dict(Mona=flat)}, tmp_path / 'c',
                        formats=['png'], ylim=(0, 4))
    picture = cv2.imread(str(path)).astype(int)
    column = picture[:, picture.shape[1] // 3]
    red, blue = column[:, 2], column[:, 0]
    tinted = np.flatnonzero((red - blue > 15) & (red > 240))
    axis = np.flatnonzero(column.sum(1) < 600)[-1]  # the x axis, y = 0
    low, high = axis - tinted.max(), axis - tinted.min()
    assert high / low == pytest.approx(3, rel=.05)
