"""From work dirs to the panels of a picture."""
import os
import re
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from mona_mm.errors import ConfigError
from mona_mm.text import some

from .figure import Line, Panel
from .logs import Log, read_log
from .names import display_name, parse

_X_LABELS = dict(iter='iterations', epoch='epochs')
_Y_LABELS = dict(
    loss='training loss',
    lr='learning rate',
    base_lr='base learning rate',
    grad_norm='gradient norm',
    time='time of an iteration (s)',
    data_time='time to load a batch (s)',
    memory='GPU memory (MB)')
_SEED = re.compile(r'[-_.]?seed[-_.]?\d+', re.IGNORECASE)


def running_mean(curve: pd.Series, count: int) -> pd.Series:
    """Replace every value by the mean of the last ``count``, itself included.

    Args:
        curve (Series): Values by x.
        count (int): Over how many; the first few have fewer before them.

    Returns:
        Series: At the same x; NaN where a value that counts is not finite.

    Raises:
        ConfigError: If the count is below 1.
    """
    if count < 1:
        raise ConfigError('a running mean (--smooth) is over 1 point or '
                          f'more, but got {count}')
    if count == 1:
        return curve
    return curve.rolling(count, min_periods=1).apply(np.mean, raw=True)


def mean_of_runs(curves: Sequence[pd.Series]) -> Line:
    """The mean of several runs, and their range, where all have a value.

    Args:
        curves (Sequence[Series]): Values by x, one of each run.

    Returns:
        Line: Over the x that all runs share.

    Raises:
        ConfigError: If they share none.
    """
    if len(curves) == 1:
        return Line(curves[0])
    shared = pd.concat(curves, axis=1, join='inner').sort_index()
    if shared.empty:
        raise ConfigError(f'{len(curves)} runs have no step in common, so '
                          'they have no mean: expected runs of one config')
    return Line(*(getattr(shared, what)(axis=1, skipna=False)
                  for what in ('mean', 'min', 'max')), len(curves))


def collect(folders: Sequence[str],
            keys: Sequence[str] = ('loss', ),
            labels: Optional[Sequence[str]] = None,
            *,
            group: bool = False,
            by_folder: bool = False,
            smooth: int = 1,
            x: Optional[str] = None,
            warn: Callable[[str], None] = print) -> List[Panel]:
    """Read work dirs and arrange their curves.

    Args:
        folders (Sequence[str]): Work dirs.
        keys (Sequence[str]): What to draw, one panel each.
        labels (Sequence[str] | None): One per work dir; None: what tells the
            work dirs apart.
        group (bool): Draw work dirs that differ in ``seedN`` only, or have
            the same label, as one line.
        by_folder (bool): A panel for every folder that holds work dirs
            (``work/TASK/METHOD``), too.
        smooth (int): Running mean of so many logged points, of what is
            logged in training.
        x (str | None): ``'iter'``, ``'epoch'``, or None: epochs for what is
            validated by epoch, else iterations.
        warn (Callable): Is told which runs have to be left out of a panel.

    Returns:
        list[Panel]: For :func:`mona_mm.reports.figure.draw`.

    Raises:
        ConfigError: If a log, a key or a label cannot be used.
    """
    placed = places(folders, seeds=group and not labels, panels=by_folder)
    if labels:
        if len(labels) != len(folders):
            raise ConfigError(f'{len(labels)} labels for {len(folders)} work '
                              'dirs: expected one for each, in their order')
        placed = [(panel, label) for (panel, _), label in zip(placed, labels)]
    #: By panel, by label: the runs of one line.
    runs: Dict[str, Dict[str, List[Log]]] = {}
    for folder, (panel, label) in zip(folders, placed):
        logs = runs.setdefault(panel, {}).setdefault(label, [])
        logs.append(read_log(folder))
        if len(logs) > 1 and not group:
            raise ConfigError(f'the label {label!r} stands for several work '
                              'dirs: give them different --labels, or '
                              '--group to draw their mean')
    every = [log for lines in runs.values() for of in lines.values()
             for log in of]
    known = dict.fromkeys(k for log in every for k in log.keys)
    for key in keys:
        if key not in known:
            where = (every[0].folder if len(every) == 1 else
                     f'any of {len(every)} logs')
            raise ConfigError(f'{key!r} is not in {where}; expected of '
                              f'{some(list(known), 40)}')
    panels = []
    for name, lines in runs.items():
        before = len(panels)
        for key in keys:
            having = {label: [log for log in logs if key in log.keys]
                      for label, logs in lines.items()}
            lacking = [log.folder for label, logs in lines.items()
                       for log in logs if log not in having[label]]
            having = {label: logs for label, logs in having.items() if logs}
            if having and lacking:
                warn((f'{name}: ' if name else '') + f'{key!r} is not in the '
                     f'log of {some(lacking)}: left out')
            if having:
                panels.append(panel_of(name, key, having, smooth, x))
        if len(panels) == before:
            warn(f'{name}: none of {some(keys)} is in its logs: left out')
    return panels


def panel_of(title: str, key: str, lines: Dict[str, List[Log]],
             smooth: int = 1, x: Optional[str] = None) -> Panel:
    """The curves of one key, one per label.

    Args:
        title (str): Of the panel.
        key (str): What is drawn; all logs have it.
        lines (dict[str, list[Log]]): By label, the runs of a line.
        smooth (int): As in :func:`collect`.
        x (str | None): As in :func:`collect`.

    Returns:
        Panel: With means and ranges where a line has several runs.
    """
    logs = [log for of_label in lines.values() for log in of_label]
    axes = {x or log.axis_of(key) for log in logs}
    axis = 'epoch' if axes == {'epoch'} else 'iter'
    drawn = {
        label: mean_of_runs([
            running_mean(log.curve(key, axis),
                         smooth if log.is_trained(key) else 1)
            for log in of_label])
        for label, of_label in lines.items()}
    text = f'{key}, validation'
    if any(log.is_trained(key) for log in logs):
        text = _Y_LABELS.get(key, key)
        if smooth > 1:
            text += f'\n(running mean of {smooth} logged points)'
    return Panel(drawn, _X_LABELS[axis], text, title)


def places(folders: Sequence[str], seeds: bool,
           panels: bool) -> List[Tuple[str, str]]:
    """Name the panel and the line of every work dir by what differs.

    Args:
        folders (Sequence[str]): Work dirs.
        seeds (bool): Leave ``seed1`` and the like out of the names.
        panels (bool): Whether the folder that holds a work dir is a panel.

    Returns:
        list[tuple[str, str]]: Panel, which may be empty, and label.

    Raises:
        ConfigError: If a work dir is given twice.
    """
    paths = [Path(os.path.abspath(f)).parts for f in folders]
    if len(set(paths)) < len(paths):
        twice = next(f for f, p in zip(folders, paths) if paths.count(p) > 1)
        raise ConfigError(f'{twice} is given twice')
    if seeds:
        paths = [tuple(filter(None, (_SEED.sub('', part) for part in parts)))
                 for parts in paths]
    if not panels:
        return [('', label) for label in _labels(paths)]
    above = ['/'.join(p) for p in _differing([p[:-1] for p in paths])]
    labels = [''] * len(paths)
    for panel in set(above):
        members = [i for i, a in enumerate(above) if a == panel]
        names = _labels([paths[i][-1:] for i in members])
        for i, name in zip(members, names):
            labels[i] = name
    return list(zip(above, labels))


def _labels(paths: List[Tuple[str, ...]]) -> List[str]:
    """What differs; of configs that differ in the method, the method."""
    differing = _differing(paths)
    leaves = [parse(parts[0]) for parts in differing if len(parts) == 1]
    one_task = len(leaves) == len(paths) > 1 and len(
        {leaf.task for leaf in leaves}) == 1
    if one_task and len({leaf.word for leaf in leaves}) > 1:
        differing = [(leaf.word, ) for leaf in leaves]
    return ['/'.join(map(display_name, parts)) for parts in differing]


def _differing(paths: Sequence[Sequence[str]]) -> List[Tuple[str, ...]]:
    """What is left without the parts that all begin and all end with."""
    rows = [tuple(path) for path in paths]
    if len(set(rows)) == 1:
        rows = [() for _ in rows]
    for _ in range(2):  # from the front, then from the back
        while all(rows) and len({row[0] for row in rows}) == 1:
            rows = [row[1:] for row in rows]
        rows = [row[::-1] for row in rows]
    return [row or tuple(path[-1:]) for row, path in zip(rows, paths)]
