"""The paper's orderings, and whether the runs of a task show them."""
from statistics import mean, stdev
from typing import Callable, Dict, List, NamedTuple, Optional

import pandas as pd

from .names import PAPER, methods
from .tables import markdown

#: Per method (``'mona'``, ``'mona-b8'``): the metric of each seed, per cent.
Results = Dict[str, List[float]]


class Claim(NamedTuple):
    """One ordering that the paper reports.

    Attributes:
        text (str): What is above what.
        source (str): Where the paper says so.
        above (Callable): The seeds' values of what the paper has above.
        below (Callable): And of what it has below.
    """

    text: str
    source: str
    above: Callable[[Results], List[float]]
    below: Callable[[Results], List[float]]


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
        results (dict[str, list[float]]): Of every method and variant.

    Returns:
        dict[Claim, Verdict | None]: None where a run is missing.
    """
    verdicts: Dict[Claim, Optional[Verdict]] = {}
    for claim in CLAIMS:
        try:
            above, below = claim.above(results), claim.below(results)
        except KeyError:
            verdicts[claim] = None
            continue
        # Of a difference of means: sqrt(s_a^2 / n_a + s_b^2 / n_b).
        error = None if min(len(above), len(below)) < 2 else sum(
            stdev(values)**2 / len(values) for values in (above, below))**.5
        verdicts[claim] = Verdict(mean(above) - mean(below), error)
    return verdicts


def results_of(runs: pd.DataFrame, metric: str) -> Dict[str, Results]:
    """The last validation of every method, by task and by seed.

    Args:
        runs (DataFrame): Of :func:`mona_mm.reports.frame.run_frame`;
            finished ones.
        metric (str): By the paper's name.

    Returns:
        dict[str, dict[str, list[float]]]: Tasks without the metric have
        none.
    """
    found: Dict[str, Results] = {}
    there = runs[runs.metric == metric].dropna(subset='last')
    for run in there.sort_values('seed').itertuples():
        found.setdefault(run.task, {}).setdefault(run.word, []).append(
            run.last)
    return found


def orderings(results: Dict[str, Results]) -> str:
    """The paper's orderings in Markdown.

    Args:
        results (dict[str, dict[str, list[float]]]): By the tasks' titles.

    Returns:
        str: One row each, one column per task.
    """
    judged = {title: judge(found) for title, found in results.items()}
    rows = [[claim.text, claim.source,
             *(_text(found[claim]) for found in judged.values())]
            for claim in CLAIMS]
    return markdown(['the paper has', 'where', *judged], rows,
                    left=None) + '\n'


def _text(verdict: Optional[Verdict]) -> str:
    if verdict is None:
        return 'not run'
    error = '' if verdict.error is None else f' ± {verdict.error:.1f}'
    return f'{verdict.word} ({verdict.difference:+.1f}{error})'


def _of(name: str) -> Callable[[Results], List[float]]:
    return lambda results: results[name]


def _others() -> List[str]:
    """All of the paper's but the two that the others are compared with."""
    return [name for name in PAPER if name not in ('full', 'fixed')]


def _average(inserting: bool) -> Callable[[Results], List[float]]:
    """The mean over the methods that insert something or not, by seed."""
    def values(results: Results) -> List[float]:
        known = methods()
        return [mean(seed) for seed in zip(*(
            results[name] for name in _others()
            if bool(known[name].sites) == inserting))]
    return values


CLAIMS = (
    Claim('Mona above Full', 'tables 1 to 3', _of('mona'), _of('full')),
    Claim('Mona above every other method', 'tables 1 and 2', _of('mona'),
          lambda r: max((r[n] for n in PAPER if n != 'mona'), key=mean)),
    Claim('Mona above Fixed', 'tables 1 to 3', _of('mona'), _of('fixed')),
    Claim('Full above Fixed', 'COCO, ADE20K (VOC: 83.7 and 83.8)',
          _of('full'), _of('fixed')),
    Claim('methods that insert above those that train a part (means)',
          'tables 1 and 2', _average(True), _average(False)),
    Claim('every method but Full above Fixed: the lowest of them',
          'tables 1 and 2',
          lambda r: min((r[n] for n in _others()), key=mean), _of('fixed')),
    Claim('the middle bottleneck above the narrow one', 'table 4',
          _of('mona'), _of('mona-b8')),
    Claim('the middle bottleneck above the wide one', 'table 4',
          _of('mona'), _of('mona-b32')),
    Claim('3x3, 5x5 and 7x7 above one 7x7', 'structure ablation',
          _of('mona'), _of('mona-k7')),
    Claim('3x3, 5x5 and 7x7 above three 3x3', 'structure ablation',
          _of('mona'), _of('mona-k333')),
    Claim('scaled norm above none', 'structure ablation', _of('mona'),
          _of('mona-noscale')),
)
