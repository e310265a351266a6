"""What a step asks of a GPU, and what an image shape costs that is new."""
import random
from statistics import median
from typing import Dict, List, Optional

import torch
from torch.profiler import ProfilerActivity, profile

from .options import Options, Size
from .step import TrainingStep
from .subjects import Comparison
from .timing import alternate
from .training import Progress, steps_of

#: Steps before anything is counted: the first ones compile and cache.
_SETTLE = 3


def measure_launches(comparison: Comparison, size: Size, options: Options,
                     progress: Progress) -> Optional[Dict[str, dict]]:
    """Count the kernels of a training step, and the time the GPU works.

    Where the step takes much longer than the GPU works, the host is too slow
    in handing out kernels.

    Returns:
        dict, optional: ``kernels`` and ``busy_ms`` of one step, by label;
        ``None`` on a CPU.
    """
    if options.place.type != 'cuda':
        return None
    rows = {}
    steps = steps_of(comparison.subjects, comparison, size, options)
    with progress(f'launches {size}', len(steps)) as bar:
        for label, step in steps.items():
            for _ in range(_SETTLE):
                step()
            torch.cuda.synchronize()
            with profile(activities=[ProfilerActivity.CUDA]) as trace:
                step()
                torch.cuda.synchronize()
            work = [e for e in trace.events()
                    if e.device_type == torch.autograd.DeviceType.CUDA]
            rows[label] = dict(
                kernels=len(work),
                busy_ms=sum(e.device_time for e in work) / 1e3)
            bar.update()
    return rows


def measure_shapes(comparison: Comparison, size: Size, options: Options,
                   progress: Progress) -> Dict[str, Dict[str, List[float]]]:
    """Time steps on image shapes that are new, and on the same again.

    Detectors train on hundreds of shapes: whatever is planned, compiled or
    tuned for each is paid hundreds of times.

    Returns:
        dict: By label: ``first`` (the first step of all), ``new`` and
        ``again`` (milliseconds, one per shape).
    """
    shapes = new_shapes(size, options.new_shapes, options.seed)
    steps = steps_of(comparison.subjects, comparison, size, options)
    rounds = (2 * len(shapes) + 1) * len(steps)
    rows: Dict[str, Dict[str, List[float]]] = {
        label: dict(new=[], again=[]) for label in steps}
    with progress(f'shapes {size}', rounds) as bar:
        for label, laps in alternate(
                steps, 1, 0, options.seed, bar.update).items():
            rows[label]['first'] = laps['total']
        for when in ('new', 'again'):
            for shape in shapes:
                _look_at(steps, options.images(
                    shape, comparison.channels))
                for label, laps in alternate(
                        steps, 1, 0, options.seed, bar.update).items():
                    rows[label][when] += laps['total']
    return rows


def new_shapes(size: Size, count: int, seed: int) -> List[Size]:
    """Different shapes around a size, sides in steps of 32 as detectors pad.

    Args:
        size (Size): The largest; no side is shorter than half of it.
        count (int): How many at most.
        seed (int): Which ones.
    """
    heights, widths = (range(max(32, side // 64 * 32), side + 1, 32)
                       for side in (size.height, size.width))
    every = [Size(size.batch, h, w) for h in heights for w in widths]
    every = [shape for shape in every if shape != size]
    return random.Random(seed).sample(every, min(count, len(every)))


def shape_ratio(row: Dict[str, List[float]]) -> Optional[float]:
    """A new shape's step against a known one's, median over the shapes."""
    if not row['new']:
        return None
    return median(a / b for a, b in zip(row['new'], row['again']))


def _look_at(steps: Dict[str, TrainingStep], images: torch.Tensor) -> None:
    for step in steps.values():
        step.images = images
