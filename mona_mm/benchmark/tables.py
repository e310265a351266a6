"""Tables that are aligned as text and valid as Markdown."""
from typing import Optional, Sequence

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
    widths = [max(3, *map(len, column)) for column in zip(head, *rows)]
    rule = [
        '-' * w if i < left else '-' * (w - 1) + ':'
        for i, w in enumerate(widths)
    ]
    lines = [_line(row, widths, left) for row in (head, rule, *rows)]
    return '\n'.join([f'\n**{caption}**\n', *lines])


def number(value: Optional[float], digits: int = 1) -> str:
    """A figure with thousands apart; a dash for none."""
    return NOTHING if value is None else f'{value:,.{digits}f}'


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    padded = [
        c.ljust(w) if i < left else c.rjust(w)
        for i, (c, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return f'| {" | ".join(padded)} |'
