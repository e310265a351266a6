"""Clocks, and the order in which subjects run."""
from itertools import pairwise
from time import perf_counter
from typing import Callable, Dict, List, Optional

import torch

Laps = Dict[str, Optional[float]]


class Stopwatch:
    """Marks moments; the laps between them come in milliseconds.

    On a GPU moments are events of the current stream, and the device is
    waited for before the first and after the last.

    Args:
        place (torch.device): Where the work is done.
    """

    def __init__(self, place: torch.device) -> None:
        self.on_gpu = place.type == 'cuda'
        self.moments: list = []
        if self.on_gpu:
            torch.cuda.synchronize()
        self.mark()

    def mark(self) -> None:
        """Remember this moment."""
        if self.on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.moments.append(event)
        else:
            self.moments.append(perf_counter())

    def laps(self) -> List[float]:
        """Milliseconds from each moment to the next."""
        if self.on_gpu:
            torch.cuda.synchronize()
            return [a.elapsed_time(b) for a, b in pairwise(self.moments)]
        return [1e3 * (b - a) for a, b in pairwise(self.moments)]


def alternate(jobs: Dict[str, Callable[[], Laps]],
              runs: int,
              warmup: int,
              seed: int = 0,
              tick: Callable[[], object] = lambda: None
              ) -> Dict[str, Dict[str, list]]:
    """Run jobs in turns, A B C A B C ..., so that noise meets all alike.

    Args:
        jobs (dict[str, Callable]): What to run, by label; each call returns
            its laps by name.
        runs (int): Rounds that count.
        warmup (int): Rounds before them, which do not.
        seed (int): Every job of round i starts from ``seed + i``.
        tick (Callable): Called after each job, for a progress bar.

    Returns:
        dict[str, dict[str, list]]: By label and name of lap, one number per
        round.
    """
    laps: Dict[str, List[Laps]] = {label: [] for label in jobs}
    for i in range(warmup + runs):
        for label, job in jobs.items():
            torch.manual_seed(seed + i)
            laps[label].append(job())
            tick()
    return {
        label: {k: [lap[k] for lap in found[warmup:]] for k in found[-1]}
        for label, found in laps.items()
    }
