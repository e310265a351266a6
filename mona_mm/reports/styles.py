"""One look per method, the same in every picture.

Dashes tell the paper's groups apart: solid lines insert something, dash-dot
ones train a part of what is there. Most colours are of the sets that Okabe
and Ito and that Tol chose for colour-blind readers.
"""
from colorsys import hls_to_rgb, rgb_to_hls
from dataclasses import dataclass, replace
from itertools import count
from typing import Dict, Iterable, Tuple

from .names import is_plain, method_of

#: What matplotlib takes: (offset, (on, off, ...)), in line widths.
Dash = Tuple[float, Tuple[float, ...]]

_SOLID: Dash = (0, ())
_DASHED: Dash = (0, (5, 2))
_DOTTED: Dash = (0, (1, 1.5))
_DASH_DOT: Dash = (0, (6, 1.5, 1.2, 1.5))


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


#: By method, in the order of the paper's tables.
METHODS: Dict[str, Style] = dict(
    full=Style('#000000', _DASHED, 's', 1.8, 5),
    fixed=Style('#777777', _DOTTED, 'o', 1.8),
    bitfit=Style('#e69f00', _DASH_DOT, 'v'),
    normtuning=Style('#56b4e9', _DASH_DOT, '^'),
    partial=Style('#882255', _DASH_DOT, '<'),
    adapter=Style('#0072b2', _SOLID, 'o'),
    lora=Style('#009e73', _SOLID, 's'),
    adaptformer=Style('#cc79a7', _SOLID, '^'),
    lorand=Style('#332288', _SOLID, 'D'),
    mona=Style('#d55e00', _SOLID, 'o', 2.8, 6))

_OTHERS = ('#44aa99', '#aa4499', '#999933', '#661100', '#6699cc')
_VARIED: Tuple[Dash, ...] = (
    (0, (3, 1.5)), (0, (8, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 1)),
    (0, (3, 1, 1, 1)), (0, (10, 2)))
_SHADES = (0.65, 1., 1.35)


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
    labels = list(dict.fromkeys(labels))
    methods = {label: method_of(label) for label in labels}
    order = [*METHODS, None]
    labels.sort(key=lambda x: (order.index(methods[x]), not is_plain(x)))
    counters = {method: count() for method in order}
    styles: Dict[str, Style] = {}
    for label in labels:
        method = methods[label]
        style = METHODS.get(method)
        if style is None:
            style = _other(next(counters[None]))
        elif not is_plain(label) or style in styles.values():
            style = _variant(style, next(counters[method]))
        styles[label] = style
    return styles


def _variant(style: Style, number: int) -> Style:
    return replace(
        style,
        colour=_shaded(style.colour, _SHADES[number % len(_SHADES)]),
        dash=_VARIED[number % len(_VARIED)],
        width=min(style.width, 1.5),
        zorder=3)


def _other(number: int) -> Style:
    """The dashes come in the other order than those of variants."""
    turn = number // len(_OTHERS)
    return Style(_OTHERS[number % len(_OTHERS)],
                 _VARIED[-1 - (number + turn) % len(_VARIED)],
                 'XPdph'[number % 5])


def _shaded(colour: str, factor: float) -> str:
    rgb = (int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5))
    hue, light, saturation = rgb_to_hls(*rgb)
    light = min(light * factor, .75)
    return '#' + ''.join(
        f'{round(255 * c):02x}' for c in hls_to_rgb(hue, light, saturation))
