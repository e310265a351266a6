"""Tables, written as Markdown, LaTeX or CSV."""
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Union
from urllib.parse import quote

import pandas as pd

_MD = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '|': r'\|', '`': r'\`',
       '](': r']\(', '][': r']\[', ']:': r']\:'}
#: With these a spreadsheet takes a cell for a formula (OWASP's list).
_FORMULA = ('=', '+', '-', '@', '\t', '\r')
_TEX = str.maketrans({
    '\\': r'\textbackslash{}', '_': r'\_', '%': r'\%', '&': r'\&',
    '#': r'\#', '$': r'\$', '{': r'\{', '}': r'\}',
    '~': r'\textasciitilde{}', '^': r'\textasciicircum{}',
    '±': r'$\pm$', '[': '{[}', ']': '{]}'})


class Entry(str):
    """A field of a table that is more than its text.

    Attributes:
        bold (bool): Whether it is the best of its column.
        link (str): Where it leads, in formats that have links.
    """

    bold: bool
    link: str

    def __new__(cls, text: str, bold: bool = False, link: str = ''):
        entry = super().__new__(cls, text)
        entry.bold, entry.link = bold, link
        return entry


@dataclass
class Table:
    """A table ready to be written in any format.

    Args:
        title (str): Its caption.
        head (list[str]): One name per column.
        rows (list[list[str | Entry]]): One field per column.
        notes (list[str]): What stands below it.
        left (int | None): How many columns are words; None: all.
    """

    title: str
    head: List[str]
    rows: List[List[Union[str, Entry]]]
    notes: List[str] = field(default_factory=list)
    left: Optional[int] = 1

    def markdown(self) -> str:
        """The table without its title, with its notes."""
        notes = ''.join(f'\n{markdown_text(note)}\n' for note in self.notes)
        return (markdown(self.head, self.rows, self.left) + '\n'
                if self.rows else '') + notes

    def latex(self) -> str:
        """A ``table`` environment; the document needs booktabs."""
        body = [_latex_row(self.head), r'\midrule',
                *map(_latex_row, self.rows)]
        notes = [rf'\par\footnotesize {note.translate(_TEX)}'
                 for note in self.notes]
        columns = 'l' + 'r' * (len(self.head) - 1)
        return '\n'.join([
            r'\begin{table}', r'\centering',
            rf'\caption{{{self.title.translate(_TEX)}}}',
            rf'\begin{{tabular}}{{{columns}}}', r'\toprule', *body,
            r'\bottomrule', r'\end{tabular}', *notes, r'\end{table}', ''])


def _latex_row(row: Sequence[str]) -> str:
    texts = [rf'\textbf{{{text.translate(_TEX)}}}'
             if getattr(text, 'bold', False) else text.translate(_TEX)
             for text in row]
    return ' & '.join(texts) + r' \\'


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]],
             left: Optional[int] = 1, padded: bool = False) -> str:
    """Write a Markdown table; fields show as they are.

    Args:
        head (Sequence[str]): Titles of the columns.
        rows (Sequence[Sequence[str | Entry]]): As many fields per row.
        left (int | None): How many columns are words; the others are
            numbers, flush right. None: all are words.
        padded (bool): Whether columns are aligned as text too.

    Returns:
        str: Lines, without a newline at the end.
    """
    words = len(head) if left is None else left
    rule = ['---' if i < words else '---:' for i in range(len(head))]
    lines = [list(map(_field, row)) for row in (head, *rows)]
    lines.insert(1, rule)
    if padded:
        widths = [max(map(len, column)) for column in zip(*lines)]
        lines = [[text.ljust(w) if i < words else text.rjust(w)
                  for i, (text, w) in enumerate(zip(line, widths))]
                 for line in lines]
        lines[1] = [text.replace(' ', '-') for text in lines[1]]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _field(entry: Union[str, Entry]) -> str:
    text = markdown_text(entry)
    if getattr(entry, 'link', ''):
        text = f'[{text}]({quote(entry.link)})'
    return f'**{text}**' if getattr(entry, 'bold', False) else text


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is: no HTML, cells, code or links.

    Names and devices come from records that anybody may have written.
    """
    for char, shown in _MD.items():
        text = text.replace(char, shown)
    return ' '.join(text.splitlines())


def csv_text(frame: pd.DataFrame) -> str:
    """Write a frame as CSV.

    Args:
        frame (DataFrame): What is missing stays empty, tuples are joined;
            text that a spreadsheet would run as a formula is preceded by an
            apostrophe.

    Returns:
        str: Lines that end in a newline alone.
    """
    # Without dtype=object a count beside a gap would become a float.
    columns = {name: pd.Series(map(_csv_field, frame[name]), dtype=object)
               for name in frame}
    return pd.DataFrame(columns).to_csv(index=False, lineterminator='\n')


def _csv_field(value: object) -> object:
    if isinstance(value, tuple):
        value = '; '.join(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


class Notes:
    """Numbers what is said once below and referred to above."""

    def __init__(self) -> None:
        self._numbers: Dict[str, int] = {}

    def mark(self, texts: Sequence[str], what: str = '') -> str:
        """A reference to each text, ``' [1] [2]'``; nothing for none."""
        numbers = sorted(self._numbers.setdefault(
            what + text, len(self._numbers) + 1) for text in texts)
        return ''.join(f' [{n}]' for n in numbers)

    def lines(self) -> List[str]:
        """All of them in order."""
        return [f'[{n}] {text}' for text, n in self._numbers.items()]
