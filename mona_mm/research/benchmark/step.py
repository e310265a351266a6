"""Training steps and forward passes, timed in turns, and their ratios."""
import logging
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn

from mona_mm.engine.optim import DeltaOptimWrapperConstructor
from mona_mm.engine.quiet import quiet

from .options import Options

Laps = Dict[str, Optional[float]]
#: Of a training step.
PARTS = ('total', 'forward', 'backward', 'optimizer')


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


def timed(job: Callable[[], object], place: torch.device) -> Laps:
    """Do something once; ``total`` is the milliseconds that it took."""
    watch = Stopwatch(place)
    job()
    watch.mark()
    return dict(total=watch.laps()[0])


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


def fit_line(x: Sequence[float], y: Sequence[float]) -> Dict[str, float]:
    """Fit a line by least squares.

    Args:
        x (Sequence[float]): At least three different values: through two
            points there always is a line.
        y (Sequence[float]): As many.

    Returns:
        dict: ``slope`` per unit of x, ``intercept`` at x = 0, and ``r2``,
        the share of the variance that the line explains.

    Raises:
        ValueError: If there are fewer.
    """
    if len(set(x)) < 3:
        raise ValueError(f'fit_line needs three different x, but got {x!r}')
    (slope, intercept), left, *_ = np.polyfit(x, y, 1, full=True)
    whole = np.square(y - np.mean(y)).sum()
    return dict(slope=float(slope), intercept=float(intercept),
                r2=float(1 - left[0] / whole) if whole else 1.)


def trains(model: nn.Module) -> bool:
    """Whether any parameter of a model trains."""
    return any(p.requires_grad for p in model.parameters())


def build_optim(model: nn.Module, cfg: dict,
                ours: bool = True) -> OptimWrapper:
    """Build a backbone's optimizer wrapper as a Runner would.

    Args:
        model (nn.Module): The backbone.
        cfg (dict): ``optimizer`` and ``paramwise_cfg``.
        ours (bool): With our constructor, or else with mmengine's default
            one, which knows no ``delta_lr_mult``. Defaults to True.
    """
    rules = dict(cfg['paramwise_cfg'])
    if not ours:
        rules.pop('delta_lr_mult', None)
    kind = (DeltaOptimWrapperConstructor
            if ours else DefaultOptimWrapperConstructor)
    constructor = kind(
        dict(type='OptimWrapper', optimizer=dict(cfg['optimizer'])), rules)
    # Rules match names as they are in a whole model.
    with quiet(logging.WARNING):
        return constructor(nn.ModuleDict(dict(backbone=model)))


class TrainingStep:
    """A subject's training step on fixed images.

    Args:
        model (nn.Module): The backbone; it is set to train mode.
        cfg (dict): ``optimizer`` and ``paramwise_cfg``.
        images (Tensor): (B, 3, H, W).
        options (Options): Device and precision.
    """

    def __init__(self, model: nn.Module, cfg: dict, images: Tensor,
                 options: Options) -> None:
        model.train()
        self.model, self.images, self.options = model, images, options
        self.optimizer: Optional[torch.optim.Optimizer] = None
        if trains(model):
            self.optimizer = build_optim(model, cfg).optimizer
        # As mixed precision in float16 is trained; else it does nothing.
        self.scaler = torch.amp.GradScaler(
            options.place.type, enabled=options.dtype == 'float16')

    def __call__(self) -> Laps:
        """Do one step.

        Returns:
            dict[str, float]: Milliseconds of ``forward`` (loss included),
            ``backward``, ``optimizer`` (zeroing gradients included) and
            their ``total``; where nothing trains, the second and third are
            ``None``.
        """
        watch = Stopwatch(self.options.place)
        with self.options.autocast():
            # A scalar that reaches every output: the sum of mean squares.
            loss = sum(out.float().square().mean()
                       for out in self.model(self.images))
        watch.mark()
        if self.optimizer is not None:
            self.scaler.scale(loss).backward()
            watch.mark()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            watch.mark()
        laps = watch.laps()
        return dict(zip(PARTS, (sum(laps), *laps, None, None)))
