"""Reports of any runs: methods down, tasks across."""
import os.path as osp
from math import nan
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Tuple

import pandas as pd

from mona_mm.errors import ConfigError
from mona_mm.text import write_atomically

from .cells import TABLES, load_cells
from .frame import Average, average, grouped, run_frame, with_runs
from .metrics import METRICS
from .names import place
from .records import Record
from .tables import Entry, Notes, Table, csv_text, markdown_text

NOT_RUN, NOT_MEASURED = 'not run', 'not measured'
#: What the formats are called, and the files of them.
FORMATS = dict(markdown='md', csv='csv', latex='tex')
_COSTS = dict(
    wall_seconds=('wall time of training and validation, minutes', 1 / 60, 1),
    memory_mib=('peak memory of one process, MiB', 1, 0))
_CSV = ('config', 'task', 'method', 'variant', 'key', 'last', 'best',
        'published', 'published_by', 'seed', 'finished', 'done', 'total',
        'unit', 'started', 'ended', 'device', 'world_size', 'memory_mib',
        'wall_seconds', 'trained', 'share', 'deviations', 'source')


def render(records: Iterable[Record], form: str = 'markdown',
           which: str = 'last') -> str:
    """A report in one of the formats.

    Args:
        records (Iterable[dict]): Of any runs.
        form (str): ``'markdown'``, ``'latex'``, or ``'csv'``, which has one
            line per run and metric.
        which (str): ``'last'`` or ``'best'``, of the validations; CSV has
            both.

    Returns:
        str: The whole file.

    Raises:
        ConfigError: If there is no such format or value.
    """
    for what, value, known in (('format', form, tuple(FORMATS)),
                               ('value', which, ('last', 'best'))):
        if value not in known:
            raise ConfigError(f'{what} {value!r}: expected one of '
                              f'{", ".join(known)}')
    cells = load_cells()
    runs = run_frame(records, cells)
    if form == 'csv':
        published = cells[['cell', 'metric', 'published', 'published_by']]
        lines = runs.merge(published.dropna(subset='published'), 'left',
                           ['cell', 'metric'])
        for name, digits in dict(last=4, best=4, memory_mib=1,
                                 wall_seconds=1).items():
            lines[name] = [value if value is None else round(value, digits)
                           for value in lines[name]]
        return csv_text(lines[list(_CSV)].rename(columns=dict(key='metric')))
    found = tables(runs, cells, which)
    if form == 'latex':
        return '% \\usepackage{booktabs}\n' + '\n'.join(
            table.latex() for table in found)
    return '\n'.join(f'## {markdown_text(table.title)}\n\n{table.markdown()}'
                     for table in found)


def write(text: str, form: str, out: str) -> str:
    """Write a report.

    Args:
        text (str): What :func:`render` gave.
        form (str): Its format.
        out (str): A file; or a folder, which exists or ends in a slash.

    Returns:
        str: The file.
    """
    if out.endswith(('/', osp.sep)) or osp.isdir(out):
        out = osp.join(out, f'report.{FORMATS[form]}')
    with write_atomically(out) as path:
        Path(path).write_text(text, encoding='utf-8')
    return out


def tables(runs: pd.DataFrame, cells: pd.DataFrame,
           which: str = 'last') -> List[Table]:
    """Results, wall time and memory as tables.

    Args:
        runs (DataFrame): Of :func:`mona_mm.reports.frame.run_frame`.
        cells (DataFrame): The cells of the paper.
        which (str): ``'last'`` or ``'best'``, of the validations.

    Returns:
        list[Table]: The paper's tables that runs belong to, with the tasks
        that they belong to; then all other runs: of tasks on which methods
        can be compared, and of the others.
    """
    found = []
    for name, about in TABLES.items():
        part = cells[[name in of for of in cells.tables]]
        several = part.groupby('dataset').model.nunique() > 1
        part = part.assign(task=[
            f'{model}, {data}' if several[data] else data
            for model, data in zip(part.model, part.dataset)])
        mine = runs[runs.cell.isin(part.cell)]
        part = part[part.task.isin(part[part.cell.isin(mine.cell)].task)]
        if len(part):
            found += _Grid(f'{name}: {about}', with_runs(part, runs), mine,
                           which).tables()
    rest = runs[runs.cell.isna()]
    several = rest.groupby('task').word.transform('nunique') > 1
    for title, part in (
            ('Runs by method and task', rest[several]),
            ('Runs of tasks with a single method', rest[~several])):
        # Finished ones, with their main metrics.
        done = part[part.finished.astype(bool)].sort_values(
            'task', kind='stable')
        main = done[done.tier == done.groupby('run').tier.transform('min')]
        if len(part):
            found += _Grid(title, main.assign(backbone='', published=None),
                           part, which).tables()
    return [table for table in found if table.rows or table.notes]


class _Grid:
    """Everything that the tables of one title show.

    Args:
        title (str): What it is about.
        rows (DataFrame): Per method, task, metric and run, as
            :func:`with_runs` gives them.
        runs (DataFrame): All runs; the unfinished ones are named.
        which (str): ``'last'`` or ``'best'``, of the validations.
    """

    def __init__(self, title: str, rows: pd.DataFrame, runs: pd.DataFrame,
                 which: str) -> None:
        self.title, self.which = title, which
        self.from_paper = bool(rows.cell.notna().any())
        self.unfinished = runs[~runs.finished.astype(bool)].drop_duplicates(
            'run')
        kinds = sorted(set(zip(rows.backbone, rows.method, rows.variant)),
                       key=lambda kind: place(*kind))
        many = len({backbone for backbone, *_ in kinds}) > 1

        def label(backbone: str, method: str, variant: str) -> str:
            # The backbone only where there are many.
            return ', '.join(filter(None, (method, variant, backbone * many)))

        #: By label: what a row is compared with.
        self.full = {label(*kind): label(kind[0], 'Full', '')
                     for kind in kinds}
        self.rows = rows.assign(row=[
            label(*kind)
            for kind in zip(rows.backbone, rows.method, rows.variant)])
        #: By row and task: runs that did the same together.
        self.groups = {
            spot: grouped(found.drop_duplicates('run'))
            for spot, found in self.rows.groupby(['row', 'task'], sort=False)}
        sizes = {len(g) for of in self.groups.values() for g in of.values()}
        #: How many runs every field has, None if it differs.
        self.same_n = sizes.pop() if len(sizes) == 1 else None

    def tables(self) -> List[Table]:
        """The three of them."""
        return [self._results(), *map(self._costs, _COSTS)]

    def _results(self) -> Table:
        notes, head, columns = Notes(), ['method', 'trained', 'share'], []
        shown = self.rows[self.rows.metric != '']
        for (task, metric), rows in shown.groupby(['task', 'metric'],
                                                  sort=False):
            name = f'{task}, {metric}'
            if metric not in {m.name for m in METRICS}:
                name += ' (as logged)'
            printed = rows.drop_duplicates('row').set_index(
                'row').published.dropna()
            decimals = max((len(repr(float(v)).split('.')[1])
                            for v in printed), default=1)
            if self.from_paper:
                head.append(f'{name}, published')
                columns.append(self._column(
                    {row: {(): Average(value, nan, 1)}
                     for row, value in printed.items()}, decimals,
                    lambda row: '-', lambda what: ''))
                name += ', ours'
            # What all runs of a task changed alike is said once.
            changed = {what for (_, of), groups in self.groups.items()
                       if of == task for what in groups}
            alike = changed.pop() if len(changed) == 1 else ()
            head.append(name + notes.mark(alike, 'changed in all runs: '))
            columns.append(self._column(
                self._means(rows), decimals,
                lambda row, task=task: NOT_MEASURED if self.groups.get(
                    (row, task)) else NOT_RUN,
                lambda what, alike=alike: '' if alike else notes.mark(
                    what, 'changed: ')))

        def span(texts: List[str]) -> str:
            # One value, or the least and the most of the tasks.
            return ' to '.join(dict.fromkeys([texts[0], texts[-1]])
                               ) if texts else '-'

        rows = []
        for row in self.full:
            of = self.rows[self.rows.row == row].drop_duplicates('task')
            rows.append([
                row, span([f'{v:,}' for v in sorted(of.trained.dropna())]),
                span([f'{100 * v:.2f} %' for v in sorted(of.share.dropna())]),
                *(column[row] for column in columns)])
        return Table(f'{self.title} (per cent, {self.which} validation)',
                     head, rows, notes.lines() + self._about())

    def _means(self, rows: pd.DataFrame) -> Dict[str, Dict]:
        """Of one column: by row and by what was done differently."""
        values = rows['last'] if self.which == 'last' else rows[
            'best'].where(rows['best'].notna(), rows['last'])
        rows = rows.assign(value=values).dropna(subset='value')
        return {row: {what: average(runs.value)
                      for what, runs in grouped(found).items()}
                for row, found in rows.groupby('row')}

    def _column(self, means: Dict[str, Dict[Tuple, Average]], decimals: int,
                absent: Callable[[str], str],
                mark: Callable[[Tuple], str]) -> Dict[str, Entry]:
        """A column's fields; each value beside Full's that did the same."""
        texts, firsts = {}, {}
        for row, full in self.full.items():
            parts, others = [], means.get(full, {})
            for what, value in means.get(row, {}).items():
                text = value.text(decimals, self.same_n)
                if row != full and what in others:
                    apart = round(value.mean - others[what].mean, decimals)
                    text += f' ({apart + 0.0:+.{decimals}f})'  # no -0.0
                parts.append(text + mark(what))
                firsts.setdefault(row, round(value.mean, decimals))
            texts[row] = '; '.join(parts) or absent(row)
        best = max(firsts.values()) if len(firsts) > 1 else nan
        return {row: Entry(text, bold=firsts.get(row) == best)
                for row, text in texts.items()}

    def _about(self) -> List[str]:
        several = any(len(runs) > 1 for of in self.groups.values()
                      for runs in of.values())
        n = (f'n={self.same_n} everywhere' if self.same_n else
             'n where more than one')
        lines = [f'Mean ± sample standard deviation over runs, {n}.'
                 ] * several
        compared = len(self.full) > 1 and any(
            row == full for row, full in self.full.items())
        lines += ['In brackets: difference to Full.'] * compared
        return lines + [
            f'Unfinished, not counted: {run.config}, seed {run.seed}: '
            f'{progress(run)}.' for run in self.unfinished.itertuples()]

    def _costs(self, what: str) -> Table:
        """Means over the runs of each field's first group."""
        name, factor, decimals = _COSTS[what]
        tasks = list(dict.fromkeys(self.rows.task))
        rows, devices = [], set()
        for row in self.full:
            texts = []
            for task in tasks:
                groups = list(self.groups.get((row, task), {}).values())
                devices |= {d for runs in groups for d in runs.device.dropna()}
                value = average(groups[0][what] * factor) if groups else None
                texts.append(value.text(decimals, self.same_n)
                             if value and value.n else '-')
            if set(texts) != {'-'}:
                rows.append([row, *texts])
        notes = [f'Measured on: {device}.' for device in sorted(devices)]
        return Table(f'{self.title}: {name}', ['method', *tasks], rows,
                     notes * bool(rows))


def progress(run) -> str:
    """How far a run got, in words."""
    return f'{run.done:g} of {run.total:g} {run.unit}s'
