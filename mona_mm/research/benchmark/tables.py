"""Tables that are aligned as text and valid as Markdown."""
from typing import Optional, Sequence

from mona_mm.reports.tables import markdown

NOTHING = '-'


def table(caption: str,
          head: Sequence[str],
          rows: Sequence[Sequence[str]],
          left: int = 1) -> str:
    """Lay out a table.

    Args:
        caption (str): Stands above, in bold.
        head (Sequence[str]): Titles of the columns.
        rows (Sequence[Sequence[str]]): Cells, as many per row.
        left (int): How many columns are words, and flush left.
    """
    return f'\n**{caption}**\n\n{markdown(head, rows, left, padded=True)}'


def number(value: Optional[float], digits: int = 1) -> str:
    """A figure with thousands apart; a dash for none."""
    return NOTHING if value is None else f'{value:,.{digits}f}'
