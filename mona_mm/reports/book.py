"""The file of runs that people extend, and what is written of it."""
import json
from dataclasses import replace
from pathlib import Path
from typing import Iterable, List, Optional, Sequence

from mona_mm.errors import ConfigError
from mona_mm.ledger.cells import Cell, load_cells
from mona_mm.ledger.match import match
from mona_mm.ledger.reading import parse_run
from mona_mm.ledger.runs import Run, unique, with_results
from mona_mm.text import read_json, some, write_atomically

_FORMAT = 1


def load_book(path) -> List[Run]:
    """Read the ledger's runs.

    Args:
        path (str | Path): A `runs.json`; a new ledger need not exist.

    Returns:
        list[Run]: In order.

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
    return [replace(parse_run(r, f'{path}, run {i}'), source='')
            for i, r in enumerate(records)]


def add_runs(book: Sequence[Run], runs: Iterable[Run], by: str,
             cells: Optional[Sequence[Cell]] = None) -> List[Run]:
    """Add runs of the paper's cells; a run that is there stays one.

    Args:
        book (Sequence[Run]): What is there.
        runs (Iterable[Run]): What comes; of a run that is there the record
            that got further stays, and results added by hand stay.
        by (str): Who ran them.
        cells (Sequence[Cell], optional): The cells of the paper. Defaults
            to those of the metafiles.

    Returns:
        list[Run]: The new book.

    Raises:
        ConfigError: If nobody is named, or a run belongs to no cell.
    """
    if not by.strip():
        raise ConfigError('by: expected the name of who ran them, found '
                          f'{by!r}; give --by NAME')
    runs = [replace(run, by=by.strip()) for run in runs]
    _check_cells(runs, load_cells() if cells is None else cells)
    old = {run.key: run for run in book}
    return unique([*book, *(_keep_results(r, old.get(r.key)) for r in runs)])


def _keep_results(run: Run, old: Optional[Run]) -> Run:
    missing = set(old.by_hand) - set(run.by_hand) if old else ()
    return with_results(run, {k: old.last[k] for k in missing})


def _check_cells(runs: Sequence[Run], cells: Sequence[Cell]) -> None:
    methods = {cell.config: cell.method for cell in cells}
    strange = [
        f'{run.source or run.config} (config {run.config!r}, '
        + (f'which is {methods[run.config]}\'s, trained with {run.method})'
           if run.config in methods else 'which is in no metafile)')
        for run in match(runs, cells).rest]
    if strange:
        raise ConfigError(
            f'not runs of a cell of the paper: {some(strange, 4)}; expected '
            'configs that model-index.yml leads to, each with its own '
            'method. A report without --ledger shows any run')


def save_book(path, runs: Sequence[Run],
              cells: Optional[Sequence[Cell]] = None) -> List[Path]:
    """Write `runs.json`, and `ledger.md` and `ledger.csv` beside it.

    Args:
        path (str | Path): The `runs.json`.
        runs (Sequence[Run]): All runs of the ledger.
        cells (Sequence[Cell], optional): The cells of the paper. Defaults
            to those of the metafiles.

    Returns:
        list[Path]: The three files.
    """
    from mona_mm.ledger.page import ledger_csv, ledger_markdown
    cells = load_cells() if cells is None else cells
    path = Path(path)
    texts = {
        path: book_text(runs),
        path.with_name('ledger.md'): ledger_markdown(cells, runs),
        path.with_name('ledger.csv'): ledger_csv(cells, runs)}
    for file, text in texts.items():
        with write_atomically(file) as partial:
            Path(partial).write_text(text, encoding='utf-8')
    return list(texts)


def book_text(runs: Sequence[Run]) -> str:
    """The content of `runs.json`, without places of any machine.

    Args:
        runs (Sequence[Run]): All runs of the ledger.

    Returns:
        str: JSON.
    """
    content = dict(format=_FORMAT, runs=[r.record() for r in unique(runs)])
    return json.dumps(content, indent=1, sort_keys=True) + '\n'
