"""Pictures of curves, as files."""
from pathlib import Path
from typing import List, Mapping, Sequence, Union

from mona_mm.errors import ConfigError
from mona_mm.text import write_atomically

from .figure import Limits, Panel, make_figure
from .log import Points
from .series import Line

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


def draw_panels(panels: Mapping[str, Mapping[str, Union[Line, Points]]],
                out: Union[str, Path],
                xlabel: str = 'iterations',
                ylabel: str = 'training loss',
                **options) -> List[Path]:
    """Draw curves that are at hand, one panel per title.

    Args:
        panels (dict[str, dict[str, Line | list[tuple[float, float]]]]): By
            title, by label: (x, y) pairs, or what :func:`mean_of_runs`
            returns.
        out (str | Path): As for :func:`draw`.
        xlabel (str): With the unit.
        ylabel (str): With the unit.
        **options: Of :func:`draw`.

    Returns:
        list[Path]: The files.
    """
    return draw([
        Panel({label: line if isinstance(line, Line) else Line.of(line)
               for label, line in lines.items()}, xlabel, ylabel, title)
        for title, lines in panels.items()], out, **options)


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
        figure = make_figure(panels, title, ylim)
        return [_save(figure, f'{out}.{kind}', kind) for kind in formats]


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


def _save(figure, path: str, kind: str) -> Path:
    try:
        with write_atomically(path) as partial:
            figure.savefig(partial, format=kind, dpi=160,
                           metadata=_METADATA[kind])
    except OSError as error:
        raise ConfigError(f'{path} cannot be written: {error.strerror}; '
                          'choose another place for it') from None
    return Path(path)
