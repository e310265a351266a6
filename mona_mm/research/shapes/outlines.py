"""Outlines of all shapes, centred, their longer side 1."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

TARGET_CLASSES = ('circle', 'square', 'triangle', 'star', 'cross', 'ring')
SOURCE_CLASSES = ('pentagon', 'hexagon', 'heart', 'crescent', 'arrow',
                  'letter_l', 'letter_t', 'half_disc', 'gear', 'drop',
                  'bolt', 'chevron', 'trapezoid', 'parallelogram', 'kite',
                  'house', 'letter_h', 'letter_u', 'letter_z', 'letter_f',
                  'hourglass', 'leaf', 'flower', 'fish')
# Turns after which a shape looks the same (0: any turn). Angles stay within
# one such turn, or the oriented box would have an angle pixels do not show.
FOLDS = {'circle': 0, 'ring': 0, 'square': 4, 'cross': 4, 'triangle': 3,
          'star': 5}


def polar(radius: Sequence[float] | Array, start: float = -90.0) -> Array:
    """Return the points at evenly spaced angles with the given radii."""
    radii = np.asarray(radius, np.float32)
    angle = np.deg2rad(start + 360 * np.arange(len(radii)) / len(radii))
    return np.stack([radii * np.cos(angle), radii * np.sin(angle)], 1)


def _arc(first: float, last: float, centre: float = 0.0,
         radius: float = 1.0) -> Array:
    """Return an arc (degrees) of a circle centred at (centre, 0)."""
    angle = np.deg2rad(np.linspace(first, last, 48))
    return np.stack([centre + radius * np.cos(angle),
                     radius * np.sin(angle)], 1)


def _heart() -> Array:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    y = (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t)
         - np.cos(4 * t))
    return np.stack([16 * np.sin(t) ** 3, -y], 1)


def _drop() -> Array:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.stack([1.1 * np.sin(t) * np.sin(t / 2) ** 2, -np.cos(t)], 1)


def _crescent() -> Array:
    # The two arcs meet at the tips (cos 50, +-sin 50) of the unit circle.
    tip_x, tip_y = np.cos(np.deg2rad(50)), np.sin(np.deg2rad(50))
    centre = 0.5
    radius = float(np.hypot(tip_x - centre, tip_y))
    angle = float(np.degrees(np.arctan2(tip_y, tip_x - centre)))
    inner = _arc(360 - angle, angle, centre, radius)
    return np.concatenate([_arc(50, 310), inner])


def _leaf() -> Array:
    # Where the unit circle is cut by its mirror image 1.2 further down.
    half = float(np.degrees(np.arccos(0.6)))
    upper = _arc(270 - half, 270 + half) + (0, 0.6)
    return np.concatenate([upper, -upper])


def _flower() -> Array:
    angle = 2 * np.pi * np.arange(80) / 80
    return polar(0.72 + 0.28 * np.cos(6 * angle))


def _fish() -> Array:
    body = _arc(30, 330) * (1.0, 0.62)
    return np.concatenate([body, [(1.5, -0.75), (1.5, 0.75)]])


def _normalise(contours: list[Array]) -> list[Array]:
    """Centre the outer contour's box on 0 and make its longer side 1."""
    low, high = contours[0].min(0), contours[0].max(0)
    scale = float((high - low).max())
    return [((np.asarray(c) - (low + high) / 2) / scale).astype(np.float32)
            for c in contours]


def _points(*xy: tuple[float, float]) -> list[Array]:
    return [np.asarray(xy, np.float32)]


OUTLINES: dict[str, list[Array]] = {
    name: _normalise(contours) for name, contours in {
        'circle': [polar([1] * 64)],
        'square': [polar([1] * 4, -45)],
        'triangle': [polar([1] * 3)],
        'star': [polar([1, 0.42] * 5)],
        'cross': _points((-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1),
                         (1, 3), (-1, 3), (-1, 1), (-3, 1), (-3, -1),
                         (-1, -1)),
        'ring': [polar([1] * 64), polar([0.55] * 64)],
        'pentagon': [polar([1] * 5)],
        'hexagon': [polar([1] * 6)],
        'heart': [_heart()],
        'crescent': [_crescent()],
        'arrow': _points((0, -4), (3, -0.5), (1, -0.5), (1, 4), (-1, 4),
                         (-1, -0.5), (-3, -0.5)),
        'letter_l': _points((-2, -3), (-0.4, -3), (-0.4, 1.4), (2, 1.4),
                            (2, 3), (-2, 3)),
        'letter_t': _points((-3, -3), (3, -3), (3, -1.3), (0.85, -1.3),
                            (0.85, 3), (-0.85, 3), (-0.85, -1.3),
                            (-3, -1.3)),
        'half_disc': [_arc(180, 360)],
        'gear': [polar([1, 1, 0.7, 0.7] * 8)],
        'drop': [_drop()],
        'bolt': _points((0.6, -3), (-1.8, 0.5), (-0.2, 0.5), (-1, 3),
                        (1.9, -0.9), (0.2, -0.9), (1.6, -3)),
        'chevron': _points((-3, -2), (0, 0.3), (3, -2), (3, 0.7), (0, 3),
                           (-3, 0.7)),
        'trapezoid': _points((-1.3, -2), (1.3, -2), (3, 2), (-3, 2)),
        'parallelogram': _points((-1.2, -1.8), (3, -1.8), (1.2, 1.8),
                                 (-3, 1.8)),
        'kite': _points((0, -2.2), (1.9, -0.7), (0, 3), (-1.9, -0.7)),
        'house': _points((0, -3), (2.6, -0.6), (2, -0.6), (2, 2.6),
                         (-2, 2.6), (-2, -0.6), (-2.6, -0.6)),
        'letter_h': _points((-2.6, -3), (-1, -3), (-1, -0.8), (1, -0.8),
                            (1, -3), (2.6, -3), (2.6, 3), (1, 3), (1, 0.8),
                            (-1, 0.8), (-1, 3), (-2.6, 3)),
        'letter_u': _points((-2.6, -3), (-1, -3), (-1, 1.3), (1, 1.3),
                            (1, -3), (2.6, -3), (2.6, 3), (-2.6, 3)),
        'letter_z': _points((-2.6, -3), (2.6, -3), (2.6, -1.8), (-0.7, 1.5),
                            (2.6, 1.5), (2.6, 3), (-2.6, 3), (-2.6, 1.8),
                            (0.7, -1.5), (-2.6, -1.5)),
        'letter_f': _points((-2.2, -3), (2.2, -3), (2.2, -1.5), (-0.6, -1.5),
                            (-0.6, -0.4), (1.6, -0.4), (1.6, 1),
                            (-0.6, 1), (-0.6, 3), (-2.2, 3)),
        'hourglass': _points((-2.2, -3), (2.2, -3), (0.5, 0), (2.2, 3),
                             (-2.2, 3), (-0.5, 0)),
        'leaf': [_leaf()],
        'flower': [_flower()],
        'fish': [_fish()],
    }.items()
}
