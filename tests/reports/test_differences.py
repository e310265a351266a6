"""Means and paired differences, against arithmetic and printed tables."""
import math

import pytest

from mona_mm.reports.differences import (
    LEVEL,
    difference,
    differences_table,
    sample,
)

#: Student's t at 97.5 %, as statistics books print it, by degrees of freedom.
T_975 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262}


def test_mean_and_sample_standard_deviation():
    # (2 + 4 + 9) / 3 = 5; ((-3)^2 + (-1)^2 + 4^2) / 2 = 13.
    found = sample([2, 4, 9])
    assert found.mean == 5 and found.n == 3
    assert found.std == pytest.approx(math.sqrt(13))
    assert found.error == pytest.approx(math.sqrt(13 / 3))
    assert found.text() == '5.0 ± 3.6'


def test_missing_numbers_do_not_count():
    assert sample([None, 2, math.nan, 4])[::2] == (3, 2)
    one, none = sample([7.25]), sample([])
    assert one.text(2) == '7.25' and none.text() == '-'
    assert math.isnan(one.std) and math.isnan(one.error)
    assert math.isnan(one.half_width()) and math.isnan(none.mean)


@pytest.mark.parametrize('freedom', T_975)
def test_half_width_is_students_t_times_the_error(freedom):
    n = freedom + 1
    found = sample(range(n))
    assert LEVEL == 0.95
    assert found.half_width() == pytest.approx(
        T_975[freedom] * found.error, rel=2e-4)


def test_differences_are_paired_by_seed():
    # What a seed does to both, 10 points and more, cancels out.
    mona = {1: 30.0, 2: 41.0, 3: 52.5, 9: 99.0}
    full = {3: 50.0, 2: 39.0, 1: 28.5, 8: 0.0}
    found = difference(mona, full)
    # 1.5, 2, 2.5: mean 2, s = 0.5, error = 0.5 / sqrt(3).
    assert found.sample.n == 3 and found.mean == pytest.approx(2)
    assert found.error == pytest.approx(.5 / 3**.5)
    # 4.303 * .2887 = 1.242: from 0.758 to 3.242.
    assert found.word == 'above' and found.exceeds()
    assert found.text() == '+2.0 (±0.29; +0.8 to +3.2)'
    assert difference(full, mona).word == 'below'


def test_what_the_interval_covers_is_unclear():
    # 0, 1, 2: mean 1, error 0.577: beyond 1.7 errors, not 4.3.
    found = difference({1: 0, 2: 1, 3: 2}, {1: 0, 2: 0, 3: 0})
    assert found.word == 'unclear'
    assert found.exceeds(1.7) and not found.exceeds(2)
    # Beyond two errors is not yet beyond the interval of three seeds.
    found = difference({1: 1, 2: 2, 3: 3}, {1: 0, 2: 0, 3: 0})
    assert found.exceeds() and found.word == 'unclear'


def test_one_seed_decides_nothing():
    found = difference({1: 90}, {1: 10})
    assert found.word == 'unclear' and not found.exceeds()
    assert found.text() == '+80.0 (one seed)'
    assert difference({1: 1}, {2: 1}).text() == '-'


def test_table():
    results = {'Mona': {1: 3, 2: 4}, 'Full': {1: 1, 2: 2}, 'Fixed': {1: 1}}
    lines = differences_table(results, [
        ('Mona', 'Full'), ('Mona', 'Fixed'), ('Mona', 'LoRA')]).splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')]
             for line in lines[2:]]
    assert cells == [
        ['Mona - Full', '+2.0', '0.00', '+2.0 to +2.0', '2', 'above'],
        ['Mona - Fixed', '+2.0', '-', '-', '1', 'unclear'],
        ['Mona - LoRA', 'not run', '-', '-', '0', '-']]
