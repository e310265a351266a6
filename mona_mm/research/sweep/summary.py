"""How a sweep ended."""
from collections import Counter
from typing import Sequence

from mona_mm.errors import Interrupted

from .local import Outcome


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the counts, and every run that is not finished."""
    counts = Counter(outcome.state for outcome in outcomes)
    print(', '.join(f'{number} {state}' for state, number in counts.items()))
    for outcome in outcomes:
        if outcome.state not in ('finished', 'skipped'):
            print(f'- {outcome.job.name}: {outcome.state} '
                  f'({outcome.reason}); {outcome.job.log}')


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """0 if all is finished, 85 if interrupted, 1 if anything failed."""
    states = {outcome.state for outcome in outcomes}
    if 'interrupted' in states:
        return Interrupted.status
    return int('failed' in states)
