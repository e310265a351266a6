"""The ledger: every number of the paper, and who has run it.

``runs.json`` holds the runs that people add; ``ledger.md`` and
``ledger.csv`` are written from it and the metafiles.
"""
import json
from pathlib import Path
from types import MappingProxyType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence

import pandas as pd

from mona_mm.errors import ConfigError
from mona_mm.text import read_json, some, write_atomically

from .cells import TABLES, load_cells
from .frame import Average, average, grouped, run_frame, with_runs
from .names import place
from .records import (
    FILE,
    Record,
    check_record,
    deviations,
    key_of,
    read_record,
    unique,
    with_results,
)
from .results import NOT_MEASURED, NOT_RUN, progress
from .tables import Entry, Notes, Table, csv_text

_FORMAT = 1
_RUNS = 'runs.json'


def load_book(path) -> List[Record]:
    """Read the ledger's runs.

    Args:
        path (str | Path): A ``runs.json``; a new ledger need not exist.

    Returns:
        list[dict]: Their records in order.

    Raises:
        ConfigError: If the file is damaged or of another format.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        content = read_json(path, 'a readable ledger')
        records = content['runs'] if content['format'] == _FORMAT else None
    except (OSError, KeyError, TypeError) as error:
        raise ConfigError(f'{path}: not a readable ledger '
                          f'({error!r})') from None
    if not isinstance(records, list):
        raise ConfigError(f'{path}: expected a list of runs in format '
                          f'{_FORMAT}, found format {content["format"]!r}')
    return [check_record(record, f'{path}, run {i}')
            for i, record in enumerate(records)]


def add_runs(book: Sequence[Record], records: Iterable[Record],
             by: str) -> List[Record]:
    """Add runs of the paper's cells; a run that is there stays one.

    Args:
        book (Sequence[dict]): What is there.
        records (Iterable[dict]): What comes; of a run that is there the
            record that got further stays, and results added by hand stay.
        by (str): Who ran them.

    Returns:
        list[dict]: The new book.

    Raises:
        ConfigError: If nobody is named, or a run belongs to no cell.
    """
    if not by.strip():
        raise ConfigError('by: expected the name of who ran them, found '
                          f'{by!r}; give --by NAME')
    records = list(records)
    runs = run_frame(records, load_cells()).drop_duplicates('run')
    strange = [
        f'{run.source or run.config} (config {run.config!r}, {run.method})'
        for run in runs[runs.cell.isna()].itertuples()]
    if strange:
        raise ConfigError(
            f'not runs of a cell of the paper: {some(strange, 4)}; expected '
            'the task and the method of a config that model-index.yml leads '
            'to. A report without --ledger shows any run')
    old = {key_of(record): record for record in book}
    new = []
    for record in records:
        before = old.get(key_of(record), {})
        missing = set(before.get('by_hand', ())) - set(
            record.get('by_hand', ()))
        new.append(with_results(dict(record, by=by.strip()),
                                {k: before['last'][k] for k in missing}))
    return unique([*book, *new])


def find_studies(docs) -> Dict[str, List[Record]]:
    """Read the runs that studies keep beside their pages.

    Args:
        docs (str | Path): Folder of the pages; a study is a folder in it
            with ``runs/**/run.json``.

    Returns:
        dict[str, list[dict]]: Records by the folder's name. All of them: two
        that started in the same second may differ in a setting alone.

    Raises:
        ConfigError: If a record is damaged.
    """
    found = {folder.parent.name: sorted(folder.rglob(FILE))
             for folder in sorted(Path(docs).glob('*/runs'))}
    return {name: [read_record(file) for file in files]
            for name, files in found.items() if files}


def save_book(path, records: Sequence[Record],
              studies: Mapping[str, Sequence[Record]] = MappingProxyType({})
              ) -> List[Path]:
    """Write ``runs.json``, and ``ledger.md`` and ``ledger.csv`` beside it.

    Args:
        path (str | Path): The ``runs.json``.
        records (Sequence[dict]): All runs of the ledger.
        studies (Mapping[str, Sequence[dict]]): Of :func:`find_studies`.

    Returns:
        list[Path]: The three files.
    """
    path, files = Path(path), []
    for name, text in pages(records, studies).items():
        files.append(path if name == _RUNS else path.with_name(name))
        with write_atomically(files[-1]) as partial:
            Path(partial).write_text(text, encoding='utf-8')
    return files


def pages(records: Sequence[Record],
          studies: Mapping[str, Sequence[Record]] = MappingProxyType({})
          ) -> Dict[str, str]:
    """The contents of the ledger's files, without places of any machine.

    Args:
        records (Sequence[dict]): All runs of the ledger.
        studies (Mapping[str, Sequence[dict]]): Of :func:`find_studies`.

    Returns:
        dict[str, str]: By file name.
    """
    runs = [dict(record, changed=list(deviations(record)))
            for record in unique(records)]
    for run in runs:
        run.pop('source', None)
    cells = load_cells()
    lines = ledger_lines(cells, run_frame(runs, cells))
    return {
        _RUNS: json.dumps(dict(format=_FORMAT, runs=runs), indent=1,
                          sort_keys=True) + '\n',
        'ledger.md': _markdown(lines, cells, studies),
        'ledger.csv': csv_text(lines[list(_CSV)])}


_CSV = (
    'tables', 'model', 'backbone', 'dataset', 'method', 'variant', 'metric',
    'published', 'published_by', 'also_reported', 'ours', 'std', 'n',
    'difference', 'status', 'seeds', 'dates', 'devices', 'memory_mib',
    'wall_seconds', 'run_by', 'config_deviations', 'run_deviations',
    'trained', 'share', 'published_millions', 'published_percent', 'config')


def ledger_lines(cells: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The lines of the ledger.

    Args:
        cells (DataFrame): The cells of the paper.
        runs (DataFrame): The ledger's runs.

    Returns:
        DataFrame: One row per cell, metric and group of runs that did the
        same, with the columns of the cells and what was found.
    """
    joined = with_runs(cells, runs)
    found = dict(list(joined[joined.run.notna()].groupby(['cell', 'metric'])))
    waiting: Dict[int, List[str]] = {}
    for run in runs[~runs.finished.astype(bool)].drop_duplicates(
            'run').itertuples():
        waiting.setdefault(run.cell, []).append(f'unfinished: {progress(run)}')
    lines = []
    for cell in cells.to_dict('records'):
        rows = found.get((cell['cell'], cell['metric']))
        if rows is not None:
            lines += [dict(cell, **_found(cell, *group))
                      for group in grouped(rows).items()]
            continue
        status = '; '.join(waiting.get(cell['cell'], [])) or NOT_RUN
        lines.append(dict(cell, n=0, status=status, run_deviations=(),
                          seeds=(), dates='', devices=(), run_by=()))
    return pd.DataFrame(lines, dtype=object).reindex(
        columns=dict.fromkeys([*cells.columns, *_CSV]))


def _found(cell: Dict[str, Any], changes: tuple,
           runs: pd.DataFrame) -> Dict[str, Any]:
    """What the runs of a line found."""
    value, published = average(runs['last']), cell['published']
    by_hand = any(runs.by_hand.dropna())
    days = sorted(day[:10] for day in runs.ended.fillna(runs.started))
    found = dict(
        n=0, status=NOT_MEASURED, run_deviations=changes,
        seeds=_each(runs.seed), devices=_each(runs.device),
        run_by=_each(runs.by),
        dates=' to '.join(dict.fromkeys([days[0], days[-1]])),
        memory_mib=runs.memory_mib.dropna().astype(float).mean(),
        wall_seconds=runs.wall_seconds.dropna().astype(float).mean())
    if value.n:
        found.update(
            ours=round(value.mean, 6), std=round(value.std, 6), n=value.n,
            status='value added after training' if by_hand else 'run')
        if pd.notna(published):
            found['difference'] = round(
                value.mean - published, _decimals(published)) + 0.0
    return found


def _each(values: pd.Series) -> tuple:
    return tuple(dict.fromkeys(map(str, values.dropna())))


def _decimals(published: Optional[float]) -> int:
    """As many as are published."""
    return 2 if pd.isna(published) else len(
        repr(float(published)).split('.')[1])


_INTRODUCTION = """# Ledger

The published numbers on record here: whose they are, and who has run them.
Written by `tools/report.py --ledger` from the metafiles and
[runs.json](runs.json): do not edit. [README.md](README.md) says how to read
it and how to add a run; [ledger.csv](ledger.csv) has the same for machines.
"""
_PARAMETERS = """## Trained parameters: the columns of tables 1 and 2

Published, in millions and per cent, and counted in the configs here.
[paper_vs_code.md](../paper_vs_code.md) says why they differ.
"""


_STUDIES = """## Studies: no cells of the paper

Comparisons of methods on data and at sizes that the paper does not have. Their
runs confirm and refute none of the numbers above.
"""


def _markdown(lines: pd.DataFrame, cells: pd.DataFrame,
              studies: Mapping[str, Sequence[Record]]) -> str:
    summary, sections = [], []
    for name, about in TABLES.items():
        part = lines[[name in of for of in lines.tables]]
        published = part[part.published.notna()]
        summary.append([f'{name}: {about}', *(
            str(len(found.drop_duplicates(['cell', 'metric'])))
            for found in (published, published[published.ours.notna()]))])
        sections += [f'## {name}: {about}\n', _section(part).markdown()]
    return '\n'.join([
        _INTRODUCTION,
        Table('', ['table', 'published numbers', 'run here'],
              summary).markdown(),
        *sections, _PARAMETERS, _parameters(cells).markdown(),
        *([_STUDIES, _studies(studies, cells).markdown()] if studies
          else [])])


def _studies(studies: Mapping[str, Sequence[Record]],
             cells: pd.DataFrame) -> Table:
    """A line for every study and task: how much has been run, and where."""
    rows = []
    for name, records in studies.items():
        runs = run_frame(records, cells).drop_duplicates('run')
        for task, of in runs[runs.finished.astype(bool)].groupby('task'):
            days = sorted(day[:10] for day in of.ended.fillna(of.started))
            rows.append([
                Entry(name.replace('_', ' '), link=f'../{name}/README.md'),
                task, str(len(of)), ', '.join(dict.fromkeys(of.method)),
                ' to '.join(dict.fromkeys([days[0], days[-1]])),
                '; '.join(_each(of.device)),
                _number(of.wall_seconds.dropna().astype(float).sum(), 1,
                        factor=1 / 3600)])
    return Table('', ['study', 'task', 'runs', 'methods', 'date', 'device',
                      'hours'], rows, left=None)


def _place(line) -> tuple:
    return (line.model, line.dataset, place(
        line.backbone, line.method, line.variant), line.config)


def _section(lines: pd.DataFrame) -> Table:
    notes, rows = Notes(), []
    for line in sorted(lines.itertuples(), key=_place):
        decimals = _decimals(line.published)
        label = ', '.join(filter(None, (line.method, line.variant)))
        ours = line.status if pd.isna(line.ours) else Average(
            line.ours, line.std, line.n).text(decimals)
        rows.append([
            Entry(label, link=line.config and f'../../{line.config}'),
            f'{line.model}, {line.backbone}, {line.dataset}, {line.metric}',
            _number(line.published, decimals), line.published_by, ours,
            _number(line.difference, decimals, '+'),
            ', '.join(line.seeds), line.dates, '; '.join(line.devices),
            _number(line.memory_mib, 0),
            _number(line.wall_seconds, 1, factor=1 / 3600),
            ', '.join(line.run_by),
            notes.mark([
                *(f'config: {text}' for text in line.config_deviations),
                *(f'run: {text}' for text in line.run_deviations),
                *(f'also reported: {text}' for text in line.also_reported),
                *['value added after training'] * (
                    line.status == 'value added after training')]).strip()])
    return Table('', ['method', 'benchmark', 'published', 'by', 'ours',
                      'difference', 'seeds', 'date', 'device', 'MiB', 'hours',
                      'run by', 'notes'], rows, notes.lines(), left=None)


def _parameters(cells: pd.DataFrame) -> Table:
    found = cells[cells.published_millions.notna()].drop_duplicates('cell')
    return Table('', ['method', 'benchmark', 'M, published', '%, published',
                      'counted', '%, counted'], [
        [cell.method, f'{cell.model}, {cell.backbone}, {cell.dataset}',
         _number(cell.published_millions, 2),
         _number(cell.published_percent, 2), f'{cell.trained:,}',
         f'{100 * cell.share:.2f}']
        for cell in sorted(found.itertuples(), key=_place)], left=None)


def _number(value: Optional[float], decimals: int, sign: str = '',
            factor: float = 1) -> str:
    return '' if pd.isna(value) else f'{value * factor:{sign},.{decimals}f}'
