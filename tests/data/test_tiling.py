"""Windows cover an image, overlap as asked, and stay inside it."""
import pytest

from mona_mm.data.tiling import starts, windows
from mona_mm.errors import ConfigError


@pytest.mark.parametrize('length, expected', [
    (700, [0]), (1024, [0]), (1025, [0, 1]), (1848, [0, 824]),
    # 824 apart; the last is moved back to the border: 2000 - 1024.
    (1849, [0, 824, 825]), (2000, [0, 824, 976])])
def test_starts_of_1024_with_an_overlap_of_200(length, expected):
    assert starts(length, 1024, 200) == expected


def test_every_pixel_is_covered_and_nothing_outside():
    places = windows(70, 45, 20, 6)
    seen = {(x, y) for x1, y1, x2, y2 in places
            for x in range(x1, x2) for y in range(y1, y2)}
    assert seen == {(x, y) for x in range(70) for y in range(45)}


@pytest.mark.parametrize('gap', [-1, 20, 30])
def test_overlap_as_large_as_the_window_is_refused(gap):
    with pytest.raises(ConfigError, match=f'gap={gap}'):
        starts(100, 20, gap)
