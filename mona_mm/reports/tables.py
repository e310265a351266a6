"""Reports of runs as Markdown, LaTeX and CSV."""
import csv
import io
import os.path as osp
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence
from urllib.parse import quote

from mona_mm.errors import ConfigError
from mona_mm.ledger.cells import Cell, load_cells
from mona_mm.ledger.grid import grids, name_of
from mona_mm.ledger.match import deviations_in, match
from mona_mm.ledger.metrics import METRICS
from mona_mm.ledger.parts import Entry, Table
from mona_mm.ledger.runs import Run
from mona_mm.ledger.tables import cost_table, results_table
from mona_mm.text import write_atomically

_MD = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '|': r'\|', '`': r'\`',
       '](': r']\(', '][': r']\[', ']:': r']\:'}
#: With these a spreadsheet takes a cell for a formula (OWASP's list).
_FORMULA = ('=', '+', '-', '@', '\t', '\r')
_TEX = {'\\': r'\textbackslash{}', '_': r'\_', '%': r'\%', '&': r'\&',
        '#': r'\#', '$': r'\$', '{': r'\{', '}': r'\}',
        '~': r'\textasciitilde{}', '^': r'\textasciicircum{}',
        '±': r'$\pm$', '[': '{[}', ']': '{]}'}


def tables(runs: Sequence[Run], cells: Optional[Sequence[Cell]] = None,
           which: str = 'last') -> List[Table]:
    """All tables of some runs: results, wall time and memory.

    Args:
        runs (Sequence[Run]): Any runs.
        cells (Sequence[Cell], optional): The cells of the paper. Defaults
            to those of the metafiles.
        which (str): ``'last'`` or ``'best'``, of the validations.

    Returns:
        list[Table]: Tables without a row are left out.
    """
    cells = load_cells() if cells is None else cells
    found = [
        table for grid in grids(runs, cells)
        for table in (results_table(grid, which),
                      cost_table(grid, 'wall_seconds'),
                      cost_table(grid, 'memory_mib'))]
    return [table for table in found if table.rows or table.notes]


def render_markdown(runs: Sequence[Run],
                    cells: Optional[Sequence[Cell]] = None,
                    which: str = 'last') -> str:
    """The tables of some runs in Markdown.

    Args:
        runs (Sequence[Run]): Any runs.
        cells (Sequence[Cell], optional): As in :func:`tables`.
        which (str): ``'last'`` or ``'best'``, of the validations.

    Returns:
        str: One heading per table.
    """
    return '\n'.join(f'## {_md(t.title)}\n\n{markdown_table(t)}'
                     for t in tables(runs, cells, which))


def markdown_table(table: Table) -> str:
    """One table in Markdown, without its title, with its notes.

    Args:
        table (Table): What to write.

    Returns:
        str: Lines.
    """
    others = '---:' if table.aligned else '---'
    align = ['---'] + [others] * (len(table.head) - 1)
    lines = [list(map(_md, table.head)), align] + [
        list(map(_md_entry, row)) for row in table.rows]
    body = ''.join(f'| {" | ".join(line)} |\n' for line in lines)
    notes = ''.join(f'\n{_md(note)}\n' for note in table.notes)
    return (body if table.rows else '') + notes


def _md_entry(entry: Entry) -> str:
    text = _md(entry.text)
    if entry.link:
        text = f'[{text}]({quote(entry.link)})'
    return f'**{text}**' if entry.bold else text


def _md(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, cells, code or links.

    Names and devices come from records that anybody may have written.
    """
    for char, shown in _MD.items():
        text = text.replace(char, shown)
    return ' '.join(text.splitlines())


def render_latex(runs: Sequence[Run],
                 cells: Optional[Sequence[Cell]] = None,
                 which: str = 'last') -> str:
    """The tables of some runs in LaTeX.

    Args:
        runs (Sequence[Run]): Any runs.
        cells (Sequence[Cell], optional): As in :func:`tables`.
        which (str): ``'last'`` or ``'best'``, of the validations.

    Returns:
        str: ``table`` environments; the document needs booktabs.
    """
    return '% \\usepackage{booktabs}\n' + '\n'.join(
        _latex_table(t) for t in tables(runs, cells, which))


def _latex_table(table: Table) -> str:
    body = [_latex_row([Entry(h) for h in table.head]), r'\midrule',
            *map(_latex_row, table.rows)]
    notes = [rf'\par\footnotesize {_escape(note)}' for note in table.notes]
    columns = 'l' + 'r' * (len(table.head) - 1)
    return '\n'.join([
        r'\begin{table}', r'\centering',
        rf'\caption{{{_escape(table.title)}}}',
        rf'\begin{{tabular}}{{{columns}}}', r'\toprule', *body,
        r'\bottomrule', r'\end{tabular}', *notes, r'\end{table}', ''])


def _latex_row(row: Sequence[Entry]) -> str:
    texts = [rf'\textbf{{{_escape(e.text)}}}' if e.bold else _escape(e.text)
             for e in row]
    return ' & '.join(texts) + r' \\'


def _escape(text: str) -> str:
    return ''.join(_TEX.get(char, char) for char in text)


_HEAD = ('config', 'task', 'method', 'variant', 'metric', 'last', 'best',
         'published', 'published_by', 'seed', 'finished', 'done', 'total',
         'unit', 'started', 'ended', 'device', 'world_size', 'memory_mib',
         'wall_seconds', 'trained', 'share', 'deviations', 'source')


def render_csv(runs: Sequence[Run], cells: Optional[Sequence[Cell]] = None,
               which: str = 'last') -> str:
    """One line per run and metric.

    Args:
        runs (Sequence[Run]): Any runs, unfinished ones too.
        cells (Sequence[Cell], optional): As in :func:`tables`.
        which (str): Not used: both values are there.

    Returns:
        str: CSV; metrics that are known in per cent, others as logged.
    """
    cells = load_cells() if cells is None else cells
    owner = _owners(runs, cells)
    lines = [line for run in runs for line in _lines(run, owner.get(run.key))]
    return to_csv(_HEAD, lines)


def to_csv(head: Sequence[str], lines: Sequence[Dict[str, object]]) -> str:
    """Write dicts as CSV.

    Args:
        head (Sequence[str]): The columns.
        lines (Sequence[dict]): None stays empty; text that a spreadsheet
            would run as a formula is preceded by an apostrophe.

    Returns:
        str: Lines that end in a newline alone.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, head, lineterminator='\n')
    writer.writeheader()
    writer.writerows({k: _no_formula(v) for k, v in line.items()}
                     for line in lines)
    return out.getvalue()


def _no_formula(value: object) -> object:
    """Text that would be run gets an apostrophe; numbers stay numbers."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _owners(runs: Sequence[Run], cells: Sequence[Cell]) -> Dict:
    by_name = {cell.name: cell for cell in cells}
    return {run.key: by_name[name]
            for name, found in match(runs, cells).by_cell.items()
            for run in found}


def _lines(run: Run, cell: Optional[Cell]) -> List[Dict[str, object]]:
    name = name_of(run)
    what = deviations_in(cell, run) if cell else run.deviations
    about = {k: getattr(run, k) for k in _HEAD if hasattr(run, k)}
    about.update(task=name.task, method=name.method, variant=name.variant,
                 deviations='; '.join(what),
                 memory_mib=_scaled(run.memory_mib, 1),
                 wall_seconds=_scaled(run.wall_seconds, 1))
    keys = dict.fromkeys([*run.last, *run.best]) or {'': None}
    return [{**about, 'metric': key, **_values(run, cell, key)}
            for key in keys]


def _values(run: Run, cell: Optional[Cell], key: str) -> Dict[str, object]:
    found = [m for m in METRICS if m.key == key]
    published = cell.published if cell else {}
    metric = next((m for m in found if m.name in published), None)
    scale = found[0].scale if found else 1
    return {
        'last': _scaled(run.last.get(key), scale),
        'best': _scaled(run.best.get(key), scale),
        'published': published[metric.name] if metric else None,
        'published_by': cell.by if metric else None}


def _scaled(value: Optional[float], scale: float) -> Optional[float]:
    return None if value is None else round(value * scale, 4)


FORMATS: Dict[str, Callable[..., str]] = {
    'markdown': render_markdown, 'csv': render_csv, 'latex': render_latex}
_SUFFIXES = {'markdown': 'md', 'csv': 'csv', 'latex': 'tex'}


def render(runs: Sequence[Run], form: str = 'markdown',
           which: str = 'last') -> str:
    """A report in one of the formats.

    Args:
        runs (Sequence[Run]): Any runs.
        form (str): ``'markdown'``, ``'csv'`` or ``'latex'``.
        which (str): ``'last'`` or ``'best'``, of the validations.

    Returns:
        str: The whole file.

    Raises:
        ConfigError: If there is no such format or value.
    """
    _check('format', form, FORMATS)
    _check('value', which, ('last', 'best'))
    return FORMATS[form](runs, which=which)


def _check(what: str, value: str, known) -> None:
    if value not in known:
        raise ConfigError(f'{what} {value!r}: expected one of '
                          f'{", ".join(known)}')


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
        out = osp.join(out, f'report.{_SUFFIXES[form]}')
    with write_atomically(out) as path:
        Path(path).write_text(text, encoding='utf-8')
    return out
