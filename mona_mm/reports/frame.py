"""The frame of runs, and what becomes of it beside the paper's cells."""
from typing import Dict, Iterable, NamedTuple, Optional, Tuple

import pandas as pd

from .cells import home_of
from .metrics import metric_of
from .names import display_name, name_run, parse
from .records import Record, deviations

#: Of a record, as it is.
_FIELDS = ('config', 'started', 'ended', 'seed', 'done', 'total', 'unit',
           'finished', 'device', 'world_size', 'memory_mib', 'wall_seconds',
           'trained', 'share', 'by', 'source')
_COLUMNS = ('run', 'cell', 'task', 'method', 'variant', 'word', 'deviations',
            'key', 'metric', 'tier', 'last', 'best', 'by_hand', *_FIELDS)


def run_frame(records: Iterable[Record],
              cells: pd.DataFrame) -> pd.DataFrame:
    """Runs as a frame.

    Args:
        records (Iterable[dict]): As :mod:`mona_mm.reports.records` reads
            them.
        cells (DataFrame): The cells of the paper.

    Returns:
        DataFrame: One row per run and logged metric; one of a run that
        logged none, with an empty ``key``.

        - ``run``: its number; ``cell``: that of the paper's cell, None if it
          belongs to none. A run belongs to the cell of its task's config and
          its tuner, in a config of its own or by ``--tuner``.
        - ``task``, ``method`` (as it calls itself), ``variant``, and
          ``word``, the two as configs' names have them.
        - ``deviations`` (tuple): what it did differently from its cell's, or
          its own, config.
        - ``key`` as logged, ``metric`` as the paper calls it, ``tier``
          as metrics have it; ``last`` and ``best`` validation, in per cent
          if the metric is known.
        - ``by_hand``: whether the value was added after training.
        - What else a record holds, under its name there.
    """
    known: Dict[Tuple, Dict] = {}
    for row in cells[cells.home != ''].to_dict('records'):
        key = row['home'], parse(row['config']).word
        cell = known.setdefault(key, dict(row, metrics=[]))
        cell['metrics'].append(row['metric'])
    rows = []
    for i, record in enumerate(records):
        leaf = name_run(record['config'],
                        record.get('tuner', {}).get('type'),
                        record.get('tuner_option'))
        method = record.get('method') or display_name(leaf.method)
        cell = known.get((home_of(record['config']), leaf.word))
        run = dict({k: record.get(k) for k in _FIELDS}, run=i,
                   cell=cell and cell['cell'], task=leaf.task, method=method,
                   variant=leaf.variant, word=leaf.word,
                   deviations=_deviations(record, cell))
        last, best = record['last'], record.get('best', {})
        for key in dict.fromkeys([*last, *best]) or ('', ):
            metric = metric_of(key, cell['metrics'] if cell else ())
            rows.append(dict(
                run, key=key, metric=metric.name, tier=metric.tier,
                last=_times(last.get(key), metric.scale),
                best=_times(best.get(key), metric.scale),
                by_hand=key in record.get('by_hand', ())))
    return pd.DataFrame(rows, columns=_COLUMNS, dtype=object)


def _deviations(record: Record, cell: Optional[Dict]) -> Tuple[str, ...]:
    found = deviations(record)
    if cell and record['config'] != cell['config']:
        found += (f'recipe: that of {record["config"]}', )
    here, recipe = record.get('world_size'), cell and cell['processes']
    if None not in (here, recipe) and here != recipe:
        found += (f'processes: {here} instead of {recipe}', )
    return found


def _times(value: Optional[float], scale: float) -> Optional[float]:
    return None if value is None else value * scale


def with_runs(cells: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Cells and their finished runs.

    Args:
        cells (DataFrame): Some cells of the paper.
        runs (DataFrame): Of :func:`run_frame`.

    Returns:
        DataFrame: One row per cell, metric and run, or one with an empty
        ``run``; in the order of the cells. Where both have a column the
        run's ends in ``_run``.
    """
    done = runs[runs.finished.astype(bool)]
    logged = ['run', 'metric', 'last', 'best', 'by_hand']
    once = done.drop_duplicates('run').drop(
        columns=[*logged[1:], 'key', 'tier'])
    return cells.merge(
        once, 'left', 'cell', suffixes=('', '_run')).merge(
            done[logged].drop_duplicates(['run', 'metric']), 'left',
            ['run', 'metric'])


def grouped(rows: pd.DataFrame) -> Dict[Tuple[str, ...], pd.DataFrame]:
    """Put runs that did the same together.

    Args:
        rows (DataFrame): Some of :func:`with_runs`; rows without a run do
            not count.

    Returns:
        dict[tuple[str], DataFrame]: By deviations; those without any first.
    """
    rows = rows[rows.run.notna()]
    order = sorted(set(rows.deviations), key=lambda what: (len(what), what))
    return {what: rows[[w == what for w in rows.deviations]]
            for what in order}


class Average(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean (float): The mean.
        std (float): The sample standard deviation; NaN of one run.
        n (int): How many runs; 0 if there are none.
    """

    mean: float
    std: float
    n: int

    def text(self, decimals: int, usual_n: Optional[int] = None) -> str:
        """``'87.3'``, or ``'87.3 ± 0.2, n=3'``; n only if not usual."""
        number = f'{self.mean:,.{decimals}f}'
        if self.n > 1:
            number += f' ± {self.std:,.{decimals}f}'
        return number + f', n={self.n}' * (1 < self.n != usual_n)


def average(values: pd.Series) -> Average:
    """The mean of the values that are there."""
    values = values.dropna().astype(float)
    return Average(values.mean(), values.std(), len(values))
