"""Pictures of curves, as files: panels, one legend for all."""
import textwrap
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple, Union

import pandas as pd

from mona_mm.errors import ConfigError
from mona_mm.text import write_atomically

from .styles import Style, styles_of

FORMATS = ('png', 'svg', 'pdf')
_RC = {
    'font.size': 9,
    'axes.titlesize': 10,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.edgecolor': '#555555',
    'axes.axisbelow': True,
    'text.parse_math': False,  # labels are names, whatever they contain
    'svg.fonttype': 'none',  # text stays text
    'svg.hashsalt': 'mona_mm',  # equal curves, equal files
}
#: Nothing that changes from one run to the next.
_METADATA = dict(png={}, svg=dict(Date=None), pdf=dict(CreationDate=None))
#: Curves of at most so many points show each of them.
_FEW = 30
#: Letters in a line of the legend.
_LEGEND = 34
#: Lowest and highest value of an axis; None: by the curves.
Limits = Tuple[Optional[float], Optional[float]]


@dataclass(frozen=True, eq=False)
class Line:
    """What is drawn for one label.

    Attributes:
        mean (Series): Values by x.
        low (Series | None): Lowest of the runs.
        high (Series | None): Highest of the runs.
        runs (int): How many runs it stands for.
    """

    mean: pd.Series
    low: Optional[pd.Series] = None
    high: Optional[pd.Series] = None
    runs: int = 1


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes.

    Attributes:
        lines (dict[str, Line]): By label.
        xlabel (str): With the unit.
        ylabel (str): With the unit.
        title (str): Empty for none.
    """

    lines: Mapping[str, Line]
    xlabel: str
    ylabel: str
    title: str = ''


def draw(panels: Sequence[Panel],
         out: Union[str, Path],
         formats: Sequence[str] = ('png', 'svg'),
         title: str = '',
         ylim: Limits = (None, None)) -> List[Path]:
    """Draw panels side by side with one legend.

    Args:
        panels (Sequence[Panel]): At least one line in all.
        out (str | Path): Files without their suffix, ``pictures/loss``.
        formats (Sequence[str]): Of :data:`FORMATS`, a file each.
        title (str): Of the picture.
        ylim (tuple[float | None, float | None]): Of all panels; None: by
            the curves.

    Returns:
        list[Path]: The files.

    Raises:
        ConfigError: If a format is unknown, a file cannot be written, the
            limits are the wrong way round or there is nothing to draw.
    """
    import matplotlib
    check_formats(formats)
    panels = [panel for panel in panels if panel.lines]
    if not panels:
        raise ConfigError(f'{out}: there is no curve to draw')
    if None not in ylim and ylim[0] >= ylim[1]:
        raise ConfigError('ylim: expected the lower limit first, but got '
                          f'{ylim[0]:g} {ylim[1]:g}')
    with matplotlib.rc_context(_RC):
        figure = _lay_out(panels, title, ylim)
        paths = {Path(f'{out}.{kind}'): kind for kind in formats}
        for path, kind in paths.items():
            with write_atomically(path) as partial:
                figure.savefig(partial, format=kind, dpi=160,
                               metadata=_METADATA[kind])
    return list(paths)


def check_formats(formats: Sequence[str]) -> None:
    """Refuse formats that are not written.

    Args:
        formats (Sequence[str]): Such as ``('png', 'svg')``.

    Raises:
        ConfigError: If there is none, or an unknown one.
    """
    unknown = [kind for kind in formats if kind not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f'formats: expected of {", ".join(FORMATS)}, but '
                          f'got {", ".join(map(repr, unknown)) or "none"}')


def _lay_out(panels: Sequence[Panel], title: str, ylim: Limits):
    """Panels in a grid, with the legend to the right; needs no display."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter
    styles = styles_of(x for panel in panels for x in panel.lines)
    runs = _runs(panels)
    # The number of runs stands with the labels unless all have the same.
    counts = {label: _runs(panels, label) for label in styles}
    names = [textwrap.fill(
        label if runs.isdecimal() or n == '1' else f'{label} ({n} runs)',
        _LEGEND) or label for label, n in counts.items()]
    letters = max(len(line) for name in names for line in name.split('\n'))
    count = len(panels)
    columns = count if count < 4 else 2 if count == 4 else 3
    rows = ceil(count / columns)
    width, height = (5.6, 3.8) if count == 1 else (4.4, 3.1)
    figure = Figure(
        (columns * width + .6 + .072 * letters,
         max(rows * height + .3 * bool(title), .4 + .19 * len(names))),
        layout='constrained')
    for i, panel in enumerate(panels, 1):
        ax = figure.add_subplot(rows, columns, i)
        for label in filter(panel.lines.__contains__, styles):
            line, style = panel.lines[label], styles[label]
            x = line.mean.index
            ax.plot(x, line.mean, **_look(style, len(x) <= _FEW),
                    zorder=style.zorder)
            if line.low is not None:
                ax.fill_between(x, line.low, line.high, color=style.colour,
                                alpha=.14, lw=0, zorder=1)
        ax.set(xlabel=panel.xlabel, ylabel=panel.ylabel, title=panel.title)
        ax.set_ylim(*ylim)
        ax.margins(x=.02)
        ax.grid(alpha=.25, lw=.6)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.xaxis.set_major_formatter(StrMethodFormatter('{x:,.0f}'))
    if title:
        figure.suptitle(title)
    handles = [
        Line2D([], [], **_look(style, any(
            len(panel.lines[label].mean) <= _FEW for panel in panels
            if label in panel.lines))) for label, style in styles.items()]
    of = f'of {runs} runs' if runs.isdecimal() else 'of the runs'
    figure.legend(
        handles, names, frameon=False, handlelength=3.6,
        loc='outside right upper', alignment='left', title_fontsize=8,
        title='' if runs == '1' else
        f'line: mean {of}\nband: lowest to highest')
    return figure


def _look(style: Style, markers: bool) -> dict:
    return dict(
        color=style.colour, ls=style.dash, lw=style.width,
        marker=style.marker if markers else '', ms=2.2 + style.width,
        mec='white', mew=.5)


def _runs(panels: Sequence[Panel], label: str = '') -> str:
    """How many runs a line stands for, ``'2'`` or ``'2-3'``."""
    counts = {line.runs for panel in panels
              for name, line in panel.lines.items() if name == label
              or not label}
    return '-'.join(str(n) for n in sorted({min(counts), max(counts)}))
