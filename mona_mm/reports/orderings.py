"""The paper's orderings, and whether the study's results show them."""
from statistics import mean, stdev
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

#: Per method (``'mona'``, ``'mona-b8'``): the metric of each seed, per cent.
Results = Dict[str, List[float]]
#: The methods that insert nothing and train a part of what is there.
_PARTIAL = ('bitfit', 'normtuning', 'partial')
_INSERTING = ('adapter', 'lora', 'adaptformer', 'lorand', 'mona')


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
    return {claim: _judged(claim, results) for claim in CLAIMS}


def _judged(claim: Claim, results: Results) -> Optional[Verdict]:
    try:
        above, below = claim.above(results), claim.below(results)
    except (KeyError, ValueError):
        return None
    difference = mean(above) - mean(below)
    if min(len(above), len(below)) < 2:
        return Verdict(difference, None)
    error = (stdev(above)**2 / len(above) + stdev(below)**2 / len(below))**.5
    return Verdict(difference, error)


def _of(name: str) -> Callable[[Results], List[float]]:
    return lambda results: results[name]


def _best(names: Sequence[str]) -> Callable[[Results], List[float]]:
    return lambda results: max((results[n] for n in names), key=mean)


def _average(names: Sequence[str]) -> Callable[[Results], List[float]]:
    """The mean over methods, seed by seed."""
    return lambda results: [
        mean(values) for values in zip(*(results[n] for n in names))]


_BASELINES = ('full', 'fixed', *_PARTIAL,
              *(n for n in _INSERTING if n != 'mona'))
CLAIMS = (
    Claim('Mona above Full', 'tables 1 to 3', _of('mona'), _of('full')),
    Claim('Mona above every other method', 'tables 1 and 2', _of('mona'),
          _best(_BASELINES)),
    Claim('Mona above Fixed', 'tables 1 to 3', _of('mona'), _of('fixed')),
    Claim('Full above Fixed', 'COCO, ADE20K (VOC: 83.7 and 83.8)',
          _of('full'), _of('fixed')),
    Claim('methods that insert above those that train a part (means)',
          'tables 1 and 2', _average(_INSERTING), _average(_PARTIAL)),
    Claim('every method but Full above Fixed: the lowest of them',
          'tables 1 and 2',
          lambda r: min((r[n] for n in (*_PARTIAL, *_INSERTING)), key=mean),
          _of('fixed')),
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
