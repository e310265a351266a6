"""A picture of the ratios of time and of memory."""
from textwrap import shorten
from typing import List, Tuple

from mona_mm.text import write_atomically

from .measure import find
from .step import Ratio

#: Panels: (measure, what to look up, title).
_PANELS = (('time', dict(part='total'), 'time of a training step'),
           ('saved', {}, 'saved activations'),
           ('memory', {}, 'peak GPU memory'))
#: Name, ratio, reference.
Bar = Tuple[str, Ratio, str]


def draw_chart(result: dict, path: str) -> None:
    """Draw a bar for every method, reference and size; 1 is the reference.

    Args:
        result (dict): What ``benchmark`` returns.
        path (str): A .png file.

    Raises:
        ConfigError: If nothing that it shows was measured.
    """
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    from mona_mm.errors import ConfigError
    panels = [(text, _bars(result, name, what))
              for name, what, text in _PANELS]
    panels = [(text, bars) for text, bars in panels if bars]
    if not panels:
        raise ConfigError('a chart shows ratios of time, saved activations '
                          'and peak memory, and none was measured')
    most = max(len(bars) for _, bars in panels)
    height = 1.2 + .25 * len(result['comparisons']) + .3 * most
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5.6 * len(panels), height),
        layout='constrained', squeeze=False)
    for ax, (text, bars) in zip(axes[0], panels):
        _draw_panel(ax, text, bars, most)
    figure.suptitle(_caption(result), fontsize=9)
    with write_atomically(path) as partial:
        figure.savefig(partial, dpi=150, format='png')
    plt.close(figure)


def _draw_panel(ax, text: str, bars: List[Bar], most: int) -> None:
    names, ratios, references = zip(*bars)
    known = list(dict.fromkeys(references))
    colours = [f'C{known.index(r)}' for r in references]
    middles = [r.median for r in ratios]
    spans = [[r.median - r.low for r in ratios],
             [r.high - r.median for r in ratios]]
    ax.barh(names, middles, xerr=spans, color=colours, height=.7,
            error_kw=dict(lw=1, alpha=.6))
    for i, ratio in enumerate(ratios):
        ax.annotate(
            f'{ratio.median:.2f}', (ratio.high, i), (5, 0),
            textcoords='offset points', va='center', fontsize=8,
            bbox=dict(fc='white', ec='none', pad=1, alpha=.8))
    ax.axvline(1, color='black', lw=1)
    ax.set(xlim=(0, 1.15 * max(max(r.high for r in ratios), 1)))
    ax.set_title(f'{text}, reference = 1', fontsize=10)
    ax.tick_params(labelsize=8)
    ax.set_ylim(most - .4, -.6)


def _bars(result: dict, measure: str, what: dict) -> List[Bar]:
    """One bar per pair and size, in the order of the tables."""
    bars = []
    many = len(result['comparisons']) > 1
    for i, comparison in enumerate(result['comparisons'], 1):
        for size, of_size in comparison['sizes'].items():
            for row in (of_size.get(measure) or {}).get('ratios', []):
                own, other = row['method'], row['against']
                ratio = find([row], **what)
                if ratio is not None and own in comparison['methods']:
                    where = f'{i}: {size}' if many else size
                    short = other.removeprefix(f'{own}, ')
                    bars.append((f'{own} / {short}, {where}', ratio, short))
    return bars


def _caption(result: dict) -> str:
    here, how = result['environment'], result['protocol']
    names = [c['name'] for c in result['comparisons']]
    if len(names) > 1:
        names = [f'{i}: {name}' for i, name in enumerate(names, 1)]
    lines = [shorten(name, 120) for name in names] + [
        f'{here["device"]}, threads: {here["threads"]}, {how["dtype"]}, '
        f'{here["date"]}'
    ]
    return '\n'.join(lines)
