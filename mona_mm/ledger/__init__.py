"""Which numbers of the paper have been reproduced, by whom and how."""
from mona_mm.ledger.book import add_runs, load_book, save_book
from mona_mm.ledger.cells import Cell, load_cells
from mona_mm.ledger.reading import collect
from mona_mm.ledger.render import (
    render,
    render_csv,
    render_latex,
    render_markdown,
)
from mona_mm.ledger.runs import Run

__all__ = [
    'Cell', 'Run', 'add_runs', 'collect', 'load_book', 'load_cells',
    'render', 'render_csv', 'render_latex', 'render_markdown', 'save_book'
]
