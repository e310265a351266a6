"""One look per method, the same in every picture.

Dashes tell the paper's groups apart: solid lines insert something, dash-dot
ones train a part of what is there. Most colours, which the methods state
themselves, are of the sets that Okabe and Ito and that Tol chose for
colour-blind readers.
"""
import re
from colorsys import hls_to_rgb, rgb_to_hls
from dataclasses import dataclass, replace
from itertools import count
from typing import Dict, Iterable, Optional, Tuple

from mona_mm.registry import TUNERS

from .names import find_method, loaded, methods

#: What matplotlib takes: (offset, (on, off, ...)), in line widths.
Dash = Tuple[float, Tuple[float, ...]]

_SOLID: Dash = (0, ())
_DASH_DOT: Dash = (0, (6, 1.5, 1.2, 1.5))
_VARIED: Tuple[Dash, ...] = (
    (0, (3, 1.5)), (0, (8, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 1)),
    (0, (3, 1, 1, 1)), (0, (10, 2)))
_OTHERS = ('#44aa99', '#aa4499', '#999933', '#661100', '#6699cc')
_SHADES = (0.65, 1., 1.35)
#: What the others are compared with, and the paper's own.
_SPECIAL = dict(
    full=dict(dash=(0, (5, 2)), width=1.8, zorder=5),
    fixed=dict(dash=(0, (1, 1.5)), width=1.8),
    mona=dict(width=2.8, zorder=6))


@dataclass(frozen=True)
class Style:
    """How a line looks.

    Attributes:
        colour (str): As ``'#rrggbb'``.
        dash (tuple): Offset and lengths of dashes and gaps.
        marker (str): For curves of few points.
        width (float): In points.
        zorder (float): Higher ones lie on top.
    """

    colour: str
    dash: Dash
    marker: str
    width: float = 1.5
    zorder: float = 3.


def method_styles() -> Dict[str, Style]:
    """The looks of all methods, in the order of the paper's tables."""
    TUNERS.import_from_location()  # colours are the classes' own
    classes = loaded()
    return {
        name: replace(
            Style(classes[name].colour,
                  _SOLID if classes[name].sites else _DASH_DOT,
                  'sov^<os^Do'[i % 10]), **_SPECIAL.get(name, {}))
        for i, name in enumerate(filter(classes.__contains__, methods()))}


def named_method(label: str) -> Optional[str]:
    """The one method that a label names, ``'LoRA, rank 4'``, or None."""
    words = [find_method(word) for word in re.split(r'[^\w-]+', label)]
    words += [find_method(word) for word in re.split('[^a-zA-Z0-9]+', label)]
    named = dict.fromkeys([find_method(label), *words])
    named.pop(None, None)
    return next(iter(named)) if len(named) == 1 else None


def styles_of(labels: Iterable[str]) -> Dict[str, Style]:
    """Choose a look for every label.

    A method has its own one. Whatever else is named after a method (a
    variant) has a shade of the method's colour, thin, with dashes of its
    own, and anything else a colour of its own, in the order of the labels.

    Args:
        labels (Iterable[str]): Labels of one picture.

    Returns:
        dict[str, Style]: Methods in the order of the paper's tables, each
        followed by its variants, then the rest.
    """
    known = method_styles()
    named = {label: named_method(label) for label in labels}
    order = [*known, None]
    counters = {method: count() for method in order}
    styles: Dict[str, Style] = {}
    for label in sorted(named, key=lambda x: (order.index(named[x]),
                                              find_method(x) is None)):
        method = named[label]
        style = known.get(method)
        if style is None:
            number = next(counters[None])
            # The dashes come in the other order than those of variants.
            turn = number // len(_OTHERS)
            style = Style(_OTHERS[number % len(_OTHERS)],
                          _VARIED[-1 - (number + turn) % len(_VARIED)],
                          'XPdph'[number % 5])
        elif find_method(label) is None or style in styles.values():
            number = next(counters[method])
            style = replace(
                style,
                colour=_shaded(style.colour, _SHADES[number % len(_SHADES)]),
                dash=_VARIED[number % len(_VARIED)],
                width=min(style.width, 1.5),
                zorder=3)
        styles[label] = style
    return styles


def _shaded(colour: str, factor: float) -> str:
    rgb = (int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5))
    hue, light, saturation = rgb_to_hls(*rgb)
    light = min(light * factor, .75)
    return '#' + ''.join(
        f'{round(255 * c):02x}' for c in hls_to_rgb(hue, light, saturation))
