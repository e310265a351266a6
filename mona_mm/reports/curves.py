"""From work dirs to the panels of a picture."""
from typing import Callable, Dict, List, Optional, Sequence

from mona_mm.errors import ConfigError
from mona_mm.text import some

from .figure import Panel
from .log import Log, Points, read_log
from .names import places
from .series import mean_of_runs, running_mean

_X_LABELS = dict(iter='iterations', epoch='epochs')
_Y_LABELS = dict(
    loss='training loss',
    lr='learning rate',
    base_lr='base learning rate',
    grad_norm='gradient norm',
    time='time of an iteration (s)',
    data_time='time to load a batch (s)',
    memory='GPU memory (MB)')
#: By panel, by label: the runs of one line.
Runs = Dict[str, Dict[str, List[Log]]]


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
        list[Panel]: For :func:`draw`.

    Raises:
        ConfigError: If a log, a key or a label cannot be used.
    """
    runs = _arrange(folders, labels, group, by_folder)
    every = [log for lines in runs.values() for logs in lines.values()
             for log in logs]
    for key in keys:
        _check_key(key, every)
    panels = []
    for name, lines in runs.items():
        found = {key: _having(key, lines, name, warn) for key in keys}
        panels += [_panel(name, key, having, smooth, x)
                   for key, having in found.items() if having]
        if not any(found.values()):
            warn(f'{name}: none of {some(keys)} is in its logs: left out')
    return panels


def _arrange(folders: Sequence[str], labels: Optional[Sequence[str]],
             group: bool, by_folder: bool) -> Runs:
    placed = places(folders, seeds=group and not labels, panels=by_folder)
    if labels:
        if len(labels) != len(folders):
            raise ConfigError(f'{len(labels)} labels for {len(folders)} work '
                              'dirs: expected one for each, in their order')
        placed = [(panel, label) for (panel, _), label in zip(placed, labels)]
    runs: Runs = {}
    for folder, (panel, label) in zip(folders, placed):
        logs = runs.setdefault(panel, {}).setdefault(label, [])
        logs.append(read_log(folder))
        if len(logs) > 1 and not group:
            raise ConfigError(f'the label {label!r} stands for several work '
                              'dirs: give them different --labels, or '
                              '--group to draw their mean')
    return runs


def _check_key(key: str, logs: Sequence[Log]) -> None:
    if any(key in log.keys for log in logs):
        return
    known = dict.fromkeys(k for log in logs for k in log.keys)
    where = logs[0].folder if len(logs) == 1 else f'any of {len(logs)} logs'
    raise ConfigError(f'{key!r} is not in {where}; expected of '
                      f'{some(list(known), 40)}')


def _having(key: str, lines: Dict[str, List[Log]], name: str,
            warn: Callable[[str], None]) -> Dict[str, List[Log]]:
    """The runs that have a key; tell which do not if others do."""
    having, lacking = {}, []
    for label, logs in lines.items():
        found = [log for log in logs if key in log.keys]
        lacking += [log.folder for log in logs if key not in log.keys]
        if found:
            having[label] = found
    if having and lacking:
        where = f'{name}: ' if name else ''
        warn(f'{where}{key!r} is not in the log of {some(lacking)}: left out')
    return having


def _panel(name: str, key: str, lines: Dict[str, List[Log]], smooth: int,
           x: Optional[str]) -> Panel:
    logs = [log for of_label in lines.values() for log in of_label]
    axes = {x or log.axis_of(key) for log in logs}
    axis = 'epoch' if axes == {'epoch'} else 'iter'
    trained = any(log.is_trained(key) for log in logs)
    drawn = {
        label: mean_of_runs([
            _points(log, key, axis, smooth) for log in of_label])
        for label, of_label in lines.items()}
    text = _y_label(key, trained)
    if trained and smooth > 1:
        text += f'\n(running mean of {smooth} logged points)'
    return Panel(drawn, _X_LABELS[axis], text, name)


def _points(log: Log, key: str, axis: str, smooth: int) -> Points:
    points = log.curve(key, axis)
    return running_mean(points, smooth) if log.is_trained(key) else points


def _y_label(key: str, trained: bool) -> str:
    return _Y_LABELS.get(key, key) if trained else f'{key}, validation'
