"""The arithmetic of comparisons."""
from statistics import mean, median
from typing import NamedTuple, Optional, Sequence


class Ratio(NamedTuple):
    """How much one subject costs of another, over all rounds.

    Attributes:
        median (float): Median of the ratios of the rounds.
        low (float): The smallest of them.
        high (float): The largest.
    """
    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f'{self.median:.3f} ({self.low:.3f}-{self.high:.3f})'


def ratio(own: Sequence[Optional[float]],
          other: Sequence[Optional[float]]) -> Optional[Ratio]:
    """Divide round by round, then take the median.

    Neighbours in time meet the same disturbances; a quotient of medians
    would not know which belong together.

    Args:
        own (Sequence[float]): One figure per round; ``None`` if there is no
            such part.
        other (Sequence[float]): The reference's, of the same rounds.

    Returns:
        Ratio, optional: ``None`` if one of them has no such part, or the
        reference costs nothing.
    """
    if None in own or None in other or 0 in other:
        return None
    found = [a / b for a, b in zip(own, other, strict=True)]
    return Ratio(median(found), min(found), max(found))


class Line(NamedTuple):
    """A straight line through measured points.

    Attributes:
        slope (float): Per unit of x.
        intercept (float): At x = 0.
        r2 (float): Share of the variance that the line explains.
    """
    slope: float
    intercept: float
    r2: float


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Fit a line by least squares.

    Args:
        x (Sequence[float]): At least three different values: through two
            points there always is a line.
        y (Sequence[float]): As many.

    Raises:
        ValueError: If there are fewer.
    """
    if len(set(x)) < 3:
        raise ValueError(f'fit_line needs three different x, but got {x!r}')
    middle, level = mean(x), mean(y)
    spread = sum((a - middle)**2 for a in x)
    slope = sum((a - middle) * (b - level) for a, b in zip(x, y)) / spread
    intercept = level - slope * middle
    left = sum((b - intercept - slope * a)**2 for a, b in zip(x, y))
    whole = sum((b - level)**2 for b in y)
    return Line(slope, intercept, 1 - left / whole if whole else 1.0)
