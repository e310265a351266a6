"""Means over seeds, and paired differences with what they are uncertain by.

Two methods that are run with the same seeds see the same order of pictures
and the same augmentations, so they are compared seed by seed: what a seed
does to both cancels out. The uncertainty is that of training again with
other seeds on the same pictures; other test pictures would add to it.
"""
import math
from typing import List, Mapping, NamedTuple, Optional, Sequence

from .tables import markdown

#: Probability that an interval covers what it estimates.
LEVEL = 0.95


class Sample(NamedTuple):
    """What some numbers say of the mean behind them.

    Attributes:
        mean (float): Their mean; NaN of none.
        std (float): Their standard deviation with n - 1; NaN below two.
        n (int): How many they are.
    """

    mean: float
    std: float
    n: int

    @property
    def error(self) -> float:
        """Standard error of the mean, ``s / sqrt(n)``; NaN below two."""
        return self.std / math.sqrt(self.n) if self.n > 1 else math.nan

    def half_width(self, level: float = LEVEL) -> float:
        """Half of Student's interval: ``t((1 + level) / 2, n - 1) * error``.

        Args:
            level (float): Probability with which it covers the mean of
                normally distributed numbers.

        Returns:
            float: NaN below two numbers.
        """
        if self.n < 2:
            return math.nan
        from scipy.special import stdtrit
        return float(stdtrit(self.n - 1, (1 + level) / 2)) * self.error

    def text(self, decimals: int = 1) -> str:
        """``'31.2 ± 0.4'``, mean and standard deviation; ``'-'`` of none."""
        if not self.n:
            return '-'
        spread = f' ± {self.std:.{decimals}f}' if self.n > 1 else ''
        return f'{self.mean:.{decimals}f}{spread}'


class Difference(NamedTuple):
    """By how much one is above another, over the seeds that both have.

    Attributes:
        sample (Sample): Of the differences, seed by seed.
    """

    sample: Sample

    @property
    def mean(self) -> float:
        """Mean difference; NaN without a common seed."""
        return self.sample.mean

    @property
    def error(self) -> float:
        """Its standard error; NaN with fewer than two common seeds."""
        return self.sample.error

    @property
    def word(self) -> str:
        """``'above'`` or ``'below'`` where Student's interval at
        :data:`LEVEL` leaves out 0, else ``'unclear'``; so with one seed."""
        if abs(self.mean) > self.sample.half_width():
            return 'above' if self.mean > 0 else 'below'
        return 'unclear'

    def exceeds(self, errors: float = 2.0) -> bool:
        """Whether it is more than so many standard errors from 0.

        With few seeds this says less than it seems: three seeds without
        any difference are beyond two errors in 18 % of all cases
        (1 - 2 / sqrt(6)). :attr:`word` allows for that.
        """
        return abs(self.mean) > errors * self.error

    def text(self, decimals: int = 1) -> str:
        """``'+1.3 (±0.2; -0.1 to +2.7)'``: error and interval."""
        if not self.sample.n:
            return '-'
        number = f'{self.mean:+.{decimals}f}'
        if self.sample.n < 2:
            return f'{number} (one seed)'
        half = self.sample.half_width()
        return (f'{number} (±{self.error:.{decimals + 1}f}; '
                f'{self.mean - half:+.{decimals}f} to '
                f'{self.mean + half:+.{decimals}f})')


def sample(values: Sequence[Optional[float]]) -> Sample:
    """Mean and sample standard deviation of the numbers that are there.

    Args:
        values (Sequence[float | None]): None and NaN do not count.
    """
    there = [float(v) for v in values if v is not None and not math.isnan(v)]
    n = len(there)
    mean = math.fsum(there) / n if n else math.nan
    std = math.nan if n < 2 else math.sqrt(
        math.fsum((v - mean)**2 for v in there) / (n - 1))
    return Sample(mean, std, n)


def difference(above: Mapping[int, float],
               below: Mapping[int, float]) -> Difference:
    """Compare seed by seed.

    Args:
        above (Mapping[int, float]): Results by seed.
        below (Mapping[int, float]): What is taken off them. A seed that only
            one of them has does not count.
    """
    return Difference(sample([above[seed] - below[seed]
                              for seed in above if seed in below]))


def differences_table(results: Mapping[str, Mapping[int, float]],
                      pairs: Sequence[Sequence[str]],
                      decimals: int = 1) -> str:
    """Pairs of methods in Markdown.

    Args:
        results (Mapping[str, Mapping[int, float]]): By method and seed.
        pairs (Sequence[Sequence[str]]): Which is taken off which:
            ``[('Mona', 'Full')]``.
        decimals (int): Of the numbers.

    Returns:
        str: One row per pair: the mean difference, its standard error,
        the interval, the number of seeds, and the word for it.
    """
    rows: List[List[str]] = []
    for first, second in pairs:
        found = difference(results.get(first, {}), results.get(second, {}))
        half, n = found.sample.half_width(), found.sample.n
        rows.append([
            f'{first} - {second}',
            f'{found.mean:+.{decimals}f}' if n else 'not run',
            f'{found.error:.{decimals + 1}f}' if n > 1 else '-',
            f'{found.mean - half:+.{decimals}f} to '
            f'{found.mean + half:+.{decimals}f}' if n > 1 else '-',
            str(n), found.word if n else '-'])
    return markdown(['difference', 'mean', 'standard error',
                     f'{LEVEL:.0%} interval', 'seeds', 'verdict'], rows) + '\n'
