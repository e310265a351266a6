"""How a picture of curves is laid out: panels, one legend for all."""
import textwrap
from dataclasses import dataclass
from math import ceil
from typing import Dict, Iterable, Mapping, Optional, Sequence, Tuple

from .series import Line
from .styles import Style, styles_of

#: Curves of at most so many points show each of them.
_FEW = 30
#: Letters in a line of the legend.
_LEGEND = 34
#: Lowest and highest value of an axis; None: by the curves.
Limits = Tuple[Optional[float], Optional[float]]


@dataclass(frozen=True)
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


def make_figure(panels: Sequence[Panel], title: str, ylim: Limits):
    """Lay out panels in a grid, with the legend to the right.

    Args:
        panels (Sequence[Panel]): With a line in all.
        title (str): Of the picture.
        ylim (tuple[float | None, float | None]): Of all panels.

    Returns:
        matplotlib.figure.Figure: Needs no display.
    """
    from matplotlib.figure import Figure
    styles = styles_of(x for panel in panels for x in panel.lines)
    names = _legend_names(panels, styles)
    letters = max(len(line) for name in names.values()
                  for line in name.split('\n'))
    count = len(panels)
    columns = count if count < 4 else 2 if count == 4 else 3
    rows = ceil(count / columns)
    width, height = (5.6, 3.8) if count == 1 else (4.4, 3.1)
    figure = Figure(
        (columns * width + .6 + .072 * letters,
         max(rows * height + .3 * bool(title), .4 + .19 * len(names))),
        layout='constrained')
    for i, panel in enumerate(panels, 1):
        _draw_panel(figure.add_subplot(rows, columns, i), panel, styles, ylim)
    if title:
        figure.suptitle(title)
    _legend(figure, panels, styles, names)
    return figure


def _draw_panel(ax, panel: Panel, styles: Dict[str, Style],
                ylim: Limits) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter
    for label, style in styles.items():
        if label in panel.lines:
            _draw_line(ax, panel.lines[label], style)
    ax.set(xlabel=panel.xlabel, ylabel=panel.ylabel, title=panel.title)
    ax.set_ylim(*ylim)
    ax.margins(x=.02)
    ax.grid(alpha=.25, lw=.6)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.xaxis.set_major_formatter(StrMethodFormatter('{x:,.0f}'))


def _draw_line(ax, line: Line, style: Style) -> None:
    few = len(line.x) <= _FEW
    ax.plot(line.x, line.y, **_look(style, few), zorder=style.zorder)
    if line.low is not None:
        ax.fill_between(line.x, line.low, line.high, color=style.colour,
                        alpha=.14, lw=0, zorder=1)


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


def _legend_names(panels: Sequence[Panel],
                  labels: Iterable[str]) -> Dict[str, str]:
    """Labels, wrapped, with the number of runs unless all have the same."""
    same = _runs(panels).isdecimal()
    texts = {label: label if same or _runs(panels, label) == '1' else
             f'{label} ({_runs(panels, label)} runs)' for label in labels}
    return {label: textwrap.fill(text, _LEGEND) or label
            for label, text in texts.items()}


def _legend(figure, panels: Sequence[Panel], styles: Dict[str, Style],
            names: Dict[str, str]) -> None:
    from matplotlib.lines import Line2D
    few = {label: any(len(p.lines[label].x) <= _FEW for p in panels
                      if label in p.lines) for label in styles}
    handles = [Line2D([], [], **_look(style, few[label]))
               for label, style in styles.items()]
    runs = _runs(panels)
    of = f'of {runs} runs' if runs.isdecimal() else 'of the runs'
    figure.legend(
        handles, list(names.values()), frameon=False, handlelength=3.6,
        loc='outside right upper', alignment='left', title_fontsize=8,
        title='' if runs == '1' else
        f'line: mean {of}\nband: lowest to highest')
