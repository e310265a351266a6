"""What tables are made of: entries, notes, means over seeds."""
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Dict, List, Optional, Sequence


@dataclass
class Entry:
    """A field of a table.

    Args:
        text (str): What it says.
        bold (bool): Whether it is the best of its column.
        link (str): Where it leads, in formats that have links.
    """

    text: str
    bold: bool = False
    link: str = ''


@dataclass
class Table:
    """A table ready to be written in any format.

    Args:
        title (str): Its caption.
        head (list[str]): One name per column.
        rows (list[list[Entry]]): One entry per column.
        notes (list[str]): What stands below it.
        aligned (bool): Whether all columns but the first are numbers.
    """

    title: str
    head: List[str]
    rows: List[List[Entry]]
    notes: List[str] = field(default_factory=list)
    aligned: bool = True


class Notes:
    """Numbers what is said once below and referred to above."""

    def __init__(self) -> None:
        self._numbers: Dict[str, int] = {}

    def mark(self, texts: Sequence[str]) -> str:
        """A reference to each text, ``' [1] [2]'``; nothing for none."""
        numbers = sorted(self._number(text) for text in texts)
        return ''.join(f' [{n}]' for n in numbers)

    def _number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers) + 1)

    def lines(self) -> List[str]:
        """All of them in order."""
        return [f'[{n}] {text}' for text, n in self._numbers.items()]


@dataclass(frozen=True)
class Value:
    """A mean over seeds.

    Args:
        mean (float): The mean.
        std (float | None): The sample standard deviation; None of one run.
        n (int): How many runs.
    """

    mean: float
    std: Optional[float]
    n: int

    def text(self, decimals: int, usual_n: Optional[int] = None) -> str:
        """``'87.3'``, or ``'87.3 ± 0.2, n=3'``; n only if not usual."""
        number = f'{self.mean:,.{decimals}f}'
        if self.n > 1:
            number += f' ± {self.std:,.{decimals}f}'
        named = self.n > 1 and self.n != usual_n
        return number + f', n={self.n}' * named


def average(values: Sequence[Optional[float]]) -> Optional[Value]:
    """Mean and sample standard deviation of what is there.

    Args:
        values (Sequence[float | None]): None stands for no value.

    Returns:
        Value | None: None of no values.
    """
    there = [v for v in values if v is not None]
    if not there:
        return None
    std = stdev(there) if len(there) > 1 else None
    return Value(mean(there), std, len(there))
