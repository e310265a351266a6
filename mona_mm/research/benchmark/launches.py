"""What a step asks of a GPU, and what an image shape costs that is new."""
import random
from statistics import median
from typing import Dict, List, Optional

import torch
from torch.profiler import ProfilerActivity, profile

from .measure import Measure, Rows, middle, number, table
from .options import Size
from .step import alternate

#: Steps before anything is counted: the first ones compile and cache.
_SETTLE = 3


class Launches(Measure):
    """The kernels of a training step, and the time the GPU works.

    Where the step takes much longer than the GPU works, the host is too slow
    in handing out kernels.

    Figures: ``kernels`` and ``busy_ms`` of one step.
    """

    name = 'launches'
    on_gpu = True
    parts = ('kernels', )

    def measure(self) -> Rows:
        rows = {}
        steps = self.steps(self.comparison.subjects, self.size)
        with self.bar(len(steps)) as bar:
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

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        return self.by_reference(
            rows, ratios, f'Kernels of a training step, {self.size}',
            {'kernels': 'kernels', 'GPU busy ms': 'busy_ms'})


class Shapes(Measure):
    """The time of steps on image shapes that are new, and on the same again.

    Detectors train on hundreds of shapes: whatever is planned, compiled or
    tuned for each is paid hundreds of times.

    Figures: ``first`` (the first step of all), ``new`` and ``again``
    (milliseconds, one per shape).
    """

    name = 'shapes'
    parts = ('new', )

    def measure(self) -> Rows:
        options = self.options
        shapes = new_shapes(self.size, options.new_shapes, options.seed)
        steps = self.steps(self.comparison.subjects, self.size)
        rows: Rows = {label: dict(new=[], again=[]) for label in steps}
        with self.bar((2 * len(shapes) + 1) * len(steps)) as bar:

            def round_of_steps() -> Dict[str, Dict[str, list]]:
                return alternate(steps, 1, 0, options.seed, bar.update)

            for label, laps in round_of_steps().items():
                rows[label]['first'] = laps['total']
            for when in ('new', 'again'):
                for shape in shapes:
                    images = options.images(shape, self.comparison.channels)
                    for step in steps.values():
                        step.images = images
                    for label, laps in round_of_steps().items():
                        rows[label][when] += laps['total']
        return rows

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        return table(
            f'Steps on new image shapes up to {self.size}: a new shape '
            'against the same again, medians',
            ['subject', 'new of known', 'new ms', 'again ms',
             'first step ms'],
            [[label, number(shape_ratio(row), 2), middle(row['new']),
              middle(row['again']), middle(row['first'])]
             for label, row in rows.items()])


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
