"""The paper's orderings, and whether the runs of a task show them."""
from typing import Callable, Dict, NamedTuple, Optional, Union

import pandas as pd

from .frame import average
from .names import PAPER
from .tables import markdown

#: Of one task: the metric in per cent, methods (``'mona'``, ``'mona-b8'``)
#: down and seeds across.
Results = pd.DataFrame


class Claim(NamedTuple):
    """One ordering that the paper reports.

    Attributes:
        text (str): What is above what.
        source (str): Where the paper says so.
        above (str | Callable): What the paper has above, a method or how its
            seeds' values come from the results.
        below (str | Callable): And what it has below.
    """

    text: str
    source: str
    above: Union[str, Callable[[Results], pd.Series]]
    below: Union[str, Callable[[Results], pd.Series]]


class Verdict(NamedTuple):
    """How a claim fares on a task.

    Attributes:
        difference (float): Points by which the one is above the other.
        error (float, optional): Its standard error over seeds; None with a
            single one.
    """

    difference: float
    error: Optional[float]

    @property
    def word(self) -> str:
        """``'yes'``, ``'no'``, or ``'unclear'`` within two errors."""
        if self.error is not None and abs(self.difference) < 2 * self.error:
            return 'unclear'
        return 'yes' if self.difference > 0 else 'no'


def judge(results: Results) -> Dict[Claim, Optional[Verdict]]:
    """Look at every claim with the results of one task.

    Args:
        results (DataFrame): Of every method and variant.

    Returns:
        dict[Claim, Verdict | None]: None where a run is missing.
    """
    verdicts: Dict[Claim, Optional[Verdict]] = {}
    for claim in CLAIMS:
        try:
            above, below = (
                average(side(results) if callable(side) else
                        results.loc[side]) for side in claim[2:])
        except KeyError:
            verdicts[claim] = None
            continue
        # Of a difference of means: sqrt(s_a^2 / n_a + s_b^2 / n_b).
        error = None if min(above.n, below.n) < 2 else (
            above.std**2 / above.n + below.std**2 / below.n)**.5
        verdicts[claim] = Verdict(above.mean - below.mean, error)
    return verdicts


def results_of(runs: pd.DataFrame, task: str, metric: str) -> Results:
    """The last validations of a task.

    Args:
        runs (DataFrame): Of :func:`mona_mm.reports.frame.run_frame`;
            finished ones.
        task (str): The config's name without a method.
        metric (str): By the paper's name.
    """
    found = runs[(runs.task == task) & (runs.metric == metric)]
    return found.pivot_table('last', 'word', 'seed', aggfunc='last')


def orderings(results: Dict[str, Results]) -> str:
    """The paper's orderings in Markdown.

    Args:
        results (dict[str, DataFrame]): By the tasks' titles.

    Returns:
        str: One column per task, and one row for each that a task can say
        something of.
    """
    judged = {title: judge(found) for title, found in results.items()}
    rows = [[claim.text, claim.source,
             *(_text(found[claim]) for found in judged.values())]
            for claim in CLAIMS
            if any(found[claim] for found in judged.values())]
    return markdown(['the paper has', 'where', *judged], rows,
                    left=None) + '\n'


def _text(verdict: Optional[Verdict]) -> str:
    if verdict is None:
        return 'not run'
    error = '' if verdict.error is None else f' ± {verdict.error:.1f}'
    return f'{verdict.word} ({verdict.difference:+.1f}{error})'


#: All but the two that the others are compared with.
_TUNED = [name for name in PAPER if name not in ('full', 'fixed')]


def _mean(inserting: bool) -> Callable[[Results], pd.Series]:
    """The mean over the methods that insert something or not, by seed."""
    names = _TUNED[3:] if inserting else _TUNED[:3]
    return lambda results: results.loc[names].mean()


def _best(results: Results) -> pd.Series:
    others = results.loc[[name for name in PAPER if name != 'mona']]
    return results.loc[others.mean(axis=1).idxmax()]


def _lowest(results: Results) -> pd.Series:
    return results.loc[results.loc[_TUNED].mean(axis=1).idxmin()]


CLAIMS = (
    Claim('Mona above Full', 'tables 1 to 3', 'mona', 'full'),
    Claim('Mona above every other method', 'tables 1 and 2', 'mona', _best),
    Claim('Mona above Fixed', 'tables 1 to 3', 'mona', 'fixed'),
    Claim('Full above Fixed', 'COCO, ADE20K (VOC: 83.7 and 83.8)', 'full',
          'fixed'),
    Claim('methods that insert above those that train a part (means)',
          'tables 1 and 2', _mean(True), _mean(False)),
    Claim('every method but Full above Fixed: the lowest of them',
          'tables 1 and 2', _lowest, 'fixed'),
    Claim('the middle bottleneck above the narrow one', 'table 4', 'mona',
          'mona-b8'),
    Claim('the middle bottleneck above the wide one', 'table 4', 'mona',
          'mona-b32'),
    Claim('3x3, 5x5 and 7x7 above one 7x7', 'structure ablation', 'mona',
          'mona-k7'),
    Claim('3x3, 5x5 and 7x7 above three 3x3', 'structure ablation', 'mona',
          'mona-k333'),
    Claim('scaled norm above none', 'structure ablation', 'mona',
          'mona-noscale'),
)
