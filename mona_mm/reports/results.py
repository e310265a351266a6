"""Tables of text from a grid: results, wall time, memory."""
from typing import Callable, Dict, List, Optional, Sequence, Tuple

from mona_mm.ledger.grid import Grid, Row, Spot
from mona_mm.ledger.metrics import METRICS, named, percent
from mona_mm.ledger.parts import Entry, Notes, Table, Value, average
from mona_mm.ledger.runs import Run

NOT_RUN, NOT_MEASURED = 'not run', 'not measured'


def measure(metric: str, which: str) -> Callable[[Run], Optional[float]]:
    """How to read a metric in per cent off a run.

    Args:
        metric (str): By the paper's name, or a key that is not known.
        which (str): ``'last'`` or ``'best'``, of the validations.

    Returns:
        Callable: Takes a run; gives None where it has no such metric.
    """
    def read(run: Run) -> Optional[float]:
        values = run.last if which == 'last' else {**run.last, **run.best}
        value = percent(metric, values)
        return named(values).get(metric) if value is None else value
    return read


def results_table(grid: Grid, which: str = 'last') -> Table:
    """Methods, what they train, and their metrics.

    Args:
        grid (Grid): What to show.
        which (str): ``'last'`` or ``'best'``, of the validations.

    Returns:
        Table: With published values beside ours where there are any.
    """
    notes = Notes()
    columns = _columns(grid, which, notes)
    head = ['method', 'trained', 'share', *(name for name, _ in columns)]
    rows = [[Entry(grid.label(row)), *map(Entry, _counts(grid, row)),
             *(entries[row] for _, entries in columns)] for row in grid.rows]
    title = f'{grid.title} (per cent, {which} validation)'
    return Table(title, head, rows, notes.lines() + _about(grid))


_Column = Tuple[str, Dict[Row, Entry]]


def _columns(grid: Grid, which: str, notes: Notes) -> List[_Column]:
    columns = []
    for task in grid.tasks:
        for metric in grid.metrics[task]:
            name = f'{task}, {metric}'
            if metric not in {m.name for m in METRICS}:
                name += ' (as logged)'
            if grid.from_paper:
                columns.append((f'{name}, published',
                                _published(grid, task, metric)))
                name += ', ours'
            name += _mark(notes, grid.shared(task), ' in all runs')
            columns.append((name, _ours(grid, task, metric, which, notes)))
    return columns


def _mark(notes: Notes, what: Sequence[str], where: str = '') -> str:
    return notes.mark([f'changed{where}: {text}' for text in what])


def _decimals(grid: Grid, task: str, metric: str) -> int:
    """As many as the paper prints in this column."""
    printed = [repr(float(grid.spot(row, task).published[metric]))
               for row in grid.rows
               if metric in grid.spot(row, task).published]
    return max((len(p.split('.')[1]) for p in printed), default=1)


def _published(grid: Grid, task: str, metric: str) -> Dict[Row, Entry]:
    values = {row: grid.spot(row, task).published.get(metric)
              for row in grid.rows}
    decimals = _decimals(grid, task, metric)
    texts = {}
    for row, value in values.items():
        text = '-' if value is None else f'{value:.{decimals}f}'
        texts[row] = text + _delta(row, value, values.get(row.full), decimals)
    return _best_bold(texts, values, decimals)


def _ours(grid: Grid, task: str, metric: str, which: str,
          notes: Notes) -> Dict[Row, Entry]:
    decimals = _decimals(grid, task, metric)
    read = measure(metric, which)
    spots = {row: _averages(grid.spot(row, task), read) for row in grid.rows}
    in_head = bool(grid.shared(task))
    texts = {
        row: _groups_text(row, spots, decimals, None if in_head else notes,
                          grid.same_n) or _absent(grid.spot(row, task))
        for row in grid.rows}
    firsts = {row: next(iter(groups.values())).mean if groups else None
              for row, groups in spots.items()}
    return _best_bold(texts, firsts, decimals)


_Averages = Dict[Tuple[str, ...], Value]


def _averages(spot: Spot, read: Callable) -> _Averages:
    found = {what: average([read(run) for run in runs])
             for what, runs in spot.groups}
    return {what: value for what, value in found.items() if value}


def _groups_text(row: Row, spots: Dict[Row, _Averages], decimals: int,
                 notes: Optional[Notes], usual_n: Optional[int]) -> str:
    """All groups of a field; compared with Full's that did the same."""
    full = spots.get(row.full, {})
    texts = []
    for what, value in spots[row].items():
        other = full[what].mean if what in full else None
        texts.append(value.text(decimals, usual_n)
                     + _delta(row, value.mean, other, decimals)
                     + (_mark(notes, what) if notes else ''))
    return '; '.join(texts)


def _absent(spot: Spot) -> str:
    return NOT_MEASURED if spot.groups else NOT_RUN


def _delta(row: Row, value: Optional[float], full: Optional[float],
           decimals: int) -> str:
    """The difference to Full; of equal ones +0.0, of Full's own nothing."""
    if None in (value, full) or row == row.full:
        return ''
    return f' ({round(value - full, decimals) + 0.0:+.{decimals}f})'


def _best_bold(texts: Dict[Row, str], values: Dict[Row, Optional[float]],
               decimals: int) -> Dict[Row, Entry]:
    rounded = {r: round(v, decimals) for r, v in values.items()
               if v is not None}
    best = max(rounded.values()) if len(rounded) > 1 else None
    return {row: Entry(text, row in rounded and rounded[row] == best)
            for row, text in texts.items()}


def _counts(grid: Grid, row: Row) -> Tuple[str, str]:
    """What trains: one number, or the smallest and greatest of the tasks."""
    spots = [grid.spot(row, task) for task in grid.tasks]
    counts = [s.trained for s in spots if s.trained is not None]
    shares = [100 * s.share for s in spots if s.share is not None]
    return (_span([f'{v:,}' for v in sorted(counts)]),
            _span([f'{v:.2f} %' for v in sorted(shares)]))


def _span(texts: Sequence[str]) -> str:
    return ' to '.join(dict.fromkeys([texts[0], texts[-1]])) if texts else '-'


_SPREAD = 'Mean ± sample standard deviation over runs'


def _about(grid: Grid) -> List[str]:
    several = any(len(runs) > 1 for spot in grid.spots.values()
                  for _, runs in spot.groups)
    lines = [_SPREAD + (f', n={grid.same_n} everywhere.' if grid.same_n
                        else ', n where more than one.')] * several
    compared = len(grid.rows) > 1 and any(r == r.full for r in grid.rows)
    lines += ['In brackets: difference to Full.'] * compared
    lines += [f'Unfinished, not counted: {run.config}, seed {run.seed}: '
              f'{run.progress}.' for run in grid.unfinished]
    return lines


def cost_table(grid: Grid, what: str) -> Table:
    """Wall time or memory, methods down and tasks across.

    Args:
        grid (Grid): What to show.
        what (str): ``'wall_seconds'`` or ``'memory_mib'``.

    Returns:
        Table: Means over the runs of each field's first group.
    """
    name, factor, decimals = _COSTS[what]
    rows = []
    for row in grid.rows:
        texts = [_cost(grid.spot(row, task), what, factor, decimals,
                       grid.same_n) for task in grid.tasks]
        if any(text != '-' for text in texts):
            rows.append([Entry(grid.label(row)), *map(Entry, texts)])
    devices = [f'Measured on: {d}.' for d in _devices(grid)] * bool(rows)
    return Table(f'{grid.title}: {name}', ['method', *grid.tasks], rows,
                 devices)


_COSTS = {
    'wall_seconds': ('wall time of training and validation, minutes',
                     1 / 60, 1),
    'memory_mib': ('peak memory of one process, MiB', 1, 0),
}


def _cost(spot: Spot, what: str, factor: float, decimals: int,
          usual_n: Optional[int]) -> str:
    runs = spot.groups[0][1] if spot.groups else []
    known = [getattr(run, what) for run in runs]
    value = average([v if v is None else v * factor for v in known])
    return value.text(decimals, usual_n) if value else '-'


def _devices(grid: Grid) -> List[str]:
    return sorted({run.device for spot in grid.spots.values()
                   for _, runs in spot.groups for run in runs if run.device})
