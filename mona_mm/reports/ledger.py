"""The ledger itself: every cell of the paper, and who has run it."""
from typing import Dict, List, Optional, Sequence

from mona_mm.ledger.cells import TABLES, Cell
from mona_mm.ledger.lines import Line, lines_of
from mona_mm.ledger.naming import place
from mona_mm.ledger.parts import Entry, Notes, Table, Value
from mona_mm.ledger.render import markdown_table, to_csv
from mona_mm.ledger.runs import Run


def ledger_markdown(cells: Sequence[Cell], runs: Sequence[Run]) -> str:
    """The page `ledger.md`.

    Args:
        cells (Sequence[Cell]): The cells of the paper.
        runs (Sequence[Run]): The ledger's runs.

    Returns:
        str: A summary, then one section per table of the paper.
    """
    lines = lines_of(cells, runs)
    sections = {name: [li for li in lines if name in li.cell.tables]
                for name in TABLES}
    parts = [_INTRODUCTION, markdown_table(_summary(sections))]
    for name, found in sections.items():
        parts += [f'## {name}: {TABLES[name]}\n',
                  markdown_table(_section(found))]
    parts += [_PARAMETERS, markdown_table(_parameters(cells))]
    return '\n'.join(parts)


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


def _parameters(cells: Sequence[Cell]) -> Table:
    head = ['method', 'benchmark', 'M, published', '%, published', 'counted',
            '%, counted']
    rows = [[cell.method, f'{cell.model}, {cell.backbone}, {cell.dataset}',
             _number(cell.published_parameters['Millions'], 2),
             _number(cell.published_parameters.get('Percent'), 2),
             f'{cell.trained:,}', f'{100 * cell.share:.2f}']
            for cell in sorted(cells, key=lambda c: _place(Line(c, '')))
            if cell.published_parameters]
    return Table('', head, [list(map(Entry, row)) for row in rows],
                 aligned=False)


def _summary(sections: Dict[str, List[Line]]) -> Table:
    rows = []
    for name, lines in sections.items():
        published = [li for li in lines if li.published is not None]
        run = [li for li in published if li.ours]
        rows.append([Entry(f'{name}: {TABLES[name]}'),
                     Entry(_count(published)), Entry(_count(run))])
    return Table('', ['table', 'published numbers', 'run here'], rows)


def _count(lines: Sequence[Line]) -> str:
    """Cells and metrics, however many groups of runs they have."""
    return str(len({(li.cell.model, li.cell.backbone, li.cell.method,
                     li.cell.name, li.metric) for li in lines}))


_HEAD = ['method', 'benchmark', 'published', 'by', 'ours', 'difference',
         'seeds', 'date', 'device', 'MiB', 'hours', 'run by', 'notes']


def _section(lines: Sequence[Line]) -> Table:
    notes = Notes()
    rows = [[Entry(_label(li), link=_link(li)),
             *map(Entry, _fields(li, notes))]
            for li in sorted(lines, key=_place)]
    return Table('', _HEAD, rows, notes.lines(), aligned=False)


def _place(line: Line) -> tuple:
    cell = line.cell
    return cell.model, cell.dataset, place(
        cell.backbone, cell.method, cell.variant), cell.name


def _label(line: Line) -> str:
    return ', '.join(filter(None, (line.cell.method, line.cell.variant)))


def _link(line: Line) -> str:
    return f'../../{line.cell.config}' if line.cell.config else ''


def _fields(line: Line, notes: Notes) -> List[str]:
    cell, ours = line.cell, line.ours
    return [
        f'{cell.model}, {cell.backbone}, {cell.dataset}, {line.metric}',
        _number(line.published, line.decimals), line.by,
        ours.text(line.decimals) if ours else line.status,
        _number(_difference(line), line.decimals, '+'),
        ', '.join(line.each('seed')), _dates(line),
        '; '.join(line.each('device')), _number(line.mean('memory_mib'), 0),
        _number(_hours(line), 1), ', '.join(line.each('by')),
        notes.mark(_notes(line)).strip()]


def _notes(line: Line) -> List[str]:
    return [
        *(f'config: {text}' for text in line.cell.deviations),
        *(f'run: {text}' for text in line.changes),
        *(f'also reported: {text}' for text in line.also),
        *['value added after training'] * line.by_hand]


def _number(value: Optional[float], decimals: int, sign: str = '') -> str:
    return '' if value is None else f'{value:{sign},.{decimals}f}'


def _difference(line: Line) -> Optional[float]:
    if line.ours is None or line.published is None:
        return None
    return round(line.ours.mean - line.published, line.decimals) + 0.0


def _hours(line: Line) -> Optional[float]:
    seconds = line.mean('wall_seconds')
    return None if seconds is None else seconds / 3600


def _dates(line: Line) -> str:
    days = sorted((run.ended or run.started)[:10] for run in line.runs)
    return ' to '.join(dict.fromkeys([days[0], days[-1]])) if days else ''


_COLUMNS = (
    'tables', 'model', 'backbone', 'dataset', 'method', 'variant', 'metric',
    'published', 'published_by', 'also_reported', 'ours', 'std', 'n',
    'difference', 'status', 'seeds', 'dates', 'devices', 'memory_mib',
    'wall_seconds', 'run_by', 'config_deviations', 'run_deviations',
    'trained', 'share', 'published_millions', 'published_percent', 'config')


def ledger_csv(cells: Sequence[Cell], runs: Sequence[Run]) -> str:
    """The file `ledger.csv`.

    Args:
        cells (Sequence[Cell]): The cells of the paper.
        runs (Sequence[Run]): The ledger's runs.

    Returns:
        str: One line per cell, metric, and group of runs.
    """
    return to_csv(_COLUMNS, [_record(li) for li in lines_of(cells, runs)])


def _record(line: Line) -> Dict[str, object]:
    cell, ours = line.cell, line.ours
    return dict(
        {k: getattr(cell, k) for k in ('model', 'backbone', 'dataset',
                                       'method', 'variant', 'config')},
        tables='; '.join(cell.tables), metric=line.metric,
        published=line.published, published_by=line.by,
        also_reported='; '.join(line.also), **_result(line, ours),
        seeds='; '.join(line.each('seed')), dates=_dates(line),
        devices='; '.join(line.each('device')),
        memory_mib=line.mean('memory_mib'),
        wall_seconds=line.mean('wall_seconds'),
        run_by='; '.join(line.each('by')),
        config_deviations='; '.join(cell.deviations),
        run_deviations='; '.join(line.changes),
        trained=cell.trained, share=cell.share,
        published_millions=cell.published_parameters.get('Millions'),
        published_percent=cell.published_parameters.get('Percent'))


def _result(line: Line, ours: Optional[Value]) -> Dict[str, object]:
    if ours is None:
        return dict(status=line.status, n=0)
    status = 'value added after training' if line.by_hand else 'run'
    return dict(ours=round(ours.mean, 6), n=ours.n, status=status,
                std=None if ours.std is None else round(ours.std, 6),
                difference=_difference(line))
