"""Arithmetic on curves: running means, means of several runs."""
from dataclasses import dataclass
from typing import List, Optional, Sequence

from mona_mm.errors import ConfigError

from .log import Points


@dataclass(frozen=True)
class Line:
    """What is drawn for one label.

    Attributes:
        x (Sequence[float]): Iterations or epochs.
        y (Sequence[float]): Values.
        low (Sequence[float] | None): Lowest of the runs.
        high (Sequence[float] | None): Highest of the runs.
        runs (int): How many runs it stands for.
    """
    x: Sequence[float]
    y: Sequence[float]
    low: Optional[Sequence[float]] = None
    high: Optional[Sequence[float]] = None
    runs: int = 1

    @classmethod
    def of(cls, points: Points) -> 'Line':
        """A line through (x, y) pairs."""
        return cls(*zip(*points)) if points else cls((), ())


def running_mean(points: Points, count: int) -> Points:
    """Replace every value by the mean of the last ``count``, itself included.

    Args:
        points (list[tuple[float, float]]): (x, value) pairs.
        count (int): Over how many; the first few have fewer before them.

    Returns:
        list[tuple[float, float]]: As many pairs.

    Raises:
        ConfigError: If the count is below 1.
    """
    if count < 1:
        raise ConfigError('a running mean (--smooth) is over 1 point or '
                          f'more, but got {count}')
    values = [y for _, y in points]
    windows = (values[max(0, i - count):i]
               for i in range(1, len(values) + 1))
    return [(x, sum(w) / len(w)) for (x, _), w in zip(points, windows)]


def mean_of_runs(runs: Sequence[Points]) -> Line:
    """The mean of several runs, and their range, where all have a value.

    Args:
        runs (Sequence[list[tuple[float, float]]]): (x, value) pairs by run.

    Returns:
        Line: Over the x that all runs share.

    Raises:
        ConfigError: If they share none.
    """
    if len(runs) == 1:
        return Line.of(runs[0])
    by_x = [dict(points) for points in runs]
    shared = sorted(set.intersection(*map(set, by_x)))
    if not shared:
        raise ConfigError(f'{len(runs)} runs have no step in common, so '
                          'they have no mean: expected runs of one config')
    columns: List[List[float]] = [[run[x] for run in by_x] for x in shared]
    return Line(shared, [sum(c) / len(c) for c in columns],
                [min(c) for c in columns], [max(c) for c in columns],
                len(runs))
