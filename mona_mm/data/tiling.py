"""Where the windows lie that a large image is cut into."""
from itertools import product
from typing import List, Tuple

from mona_mm.errors import ConfigError

Window = Tuple[int, int, int, int]


def starts(length: int, size: int, gap: int) -> List[int]:
    """Return where windows of a side start; the last one ends at the border.

    Args:
        length (int): Side of the image in pixels.
        size (int): Side of a window.
        gap (int): How far neighbours overlap.

    Raises:
        ConfigError: If a window does not reach beyond its overlap.
    """
    if not 0 <= gap < size:
        raise ConfigError(f'windows of size={size} with gap={gap}: expected '
                          '0 <= gap < size')
    if length <= size:
        return [0]
    step = size - gap
    inner = list(range(0, length - size, step))
    return [*inner, length - size]


def windows(width: int, height: int, size: int, gap: int) -> List[Window]:
    """Return windows x1, y1, x2, y2 that cover an image, row by row.

    Args:
        width (int): Of the image.
        height (int): Of the image.
        size (int): Side of a window; smaller where the image is.
        gap (int): How far neighbours overlap.
    """
    return [(x, y, min(x + size, width), min(y + size, height))
            for y, x in product(starts(height, size, gap),
                                starts(width, size, gap))]
