"""Measures of training steps: time, peak memory, cost against area."""
import gc
from statistics import median
from typing import List

import torch

from .measure import (
    MIB,
    NOTHING,
    Measure,
    Rows,
    compared,
    middle,
    number,
    ratio_table,
    table,
)
from .options import Size
from .step import PARTS, fit_line


class Time(Measure):
    """The time of a training step and of its parts.

    Figures: milliseconds per round, by part.
    """

    name = 'time'
    parts = PARTS

    def measure(self) -> Rows:
        return self.in_turns(self.steps(self.comparison.subjects, self.size))

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        text = ratio_table(f'Training step, {self.size}', ratios, 'part')
        text += '\n' * bool(text) + table(
            f'Training step, {self.size}: median ms', ['subject', *PARTS],
            [[label, *(middle(laps[part]) for part in PARTS)]
             for label, laps in rows.items()])
        idle = [label for label, laps in rows.items()
                if None in laps['backward']]
        return text + (f'\n\nNothing trains in {"; ".join(idle)}: the step '
                       'is a forward pass.' if idle else '')


class Memory(Measure):
    """The GPU memory of a training step, one subject at a time.

    Figures: ``peak_mib`` within a step and ``resident_mib`` between steps
    (weights, optimizer state, caches), without what was there before.
    """

    name = 'memory'
    on_gpu = True
    parts = ('peak_mib', )

    def measure(self) -> Rows:
        rows = {}
        with self.bar(len(self.comparison.subjects)) as bar:
            for label, builder in self.comparison.subjects.items():
                gc.collect()  # nothing dropped may be freed meanwhile
                torch.cuda.empty_cache()
                before = torch.cuda.memory_allocated()
                step = self.steps({label: builder}, self.size)[label]
                for _ in range(2):  # the first makes the optimizer's state
                    step()
                resident = torch.cuda.memory_allocated() - before
                torch.cuda.reset_peak_memory_stats()
                step()
                peak = torch.cuda.max_memory_allocated() - before
                rows[label] = dict(
                    peak_mib=peak / MIB, resident_mib=resident / MIB)
                del step
                bar.update()
        return rows

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        return self.by_reference(
            rows, ratios, f'Peak GPU memory of a training step, {self.size}',
            {'peak MiB': 'peak_mib', 'between steps MiB': 'resident_mib'})


class Area(Measure):
    """The time of a step on one image, against the image's size.

    Figures: ``total_ms`` (rounds, by size), ``megapixels`` (by size), and
    ``line``: slope in ms per megapixel, intercept in ms and R^2 of the
    medians, or None with less than three sizes.
    """

    name = 'area'
    once = True

    def measure(self) -> Rows:
        subjects = self.comparison.without_line_by_line
        rows = {k: dict(total_ms={}, megapixels={}) for k in subjects}
        for side in self.options.area_sizes:
            size = Size(1, side, side)
            found = self.in_turns(self.steps(subjects, size),
                                  self.options.area_runs, 1)
            for label, laps in found.items():
                rows[label]['total_ms'][str(size)] = laps['total']
                rows[label]['megapixels'][str(size)] = size.megapixels
        for row in rows.values():
            row['line'] = None
            if len(row['megapixels']) > 2:
                row['line'] = fit_line(
                    list(row['megapixels'].values()),
                    [median(rounds) for rounds in row['total_ms'].values()])
        return rows

    def ratios(self, rows: Rows) -> List[dict]:
        return [
            compared(own, other, rounds, rows[other]['total_ms'][size],
                     size=size)
            for own, other in self.comparison.pairs if other in rows
            for size, rounds in rows[own]['total_ms'].items()]

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        sizes = list(next(iter(rows.values()))['total_ms'])
        text = ratio_table('Training step against image area', ratios, 'size')
        lines = []
        for label, row in rows.items():
            line = row['line'] or {}
            lines.append([
                label, *(number(median(rounds) / row['megapixels'][size])
                         for size, rounds in row['total_ms'].items()),
                *(number(line[key], digits) if line else NOTHING
                  for key, digits in (('slope', 1), ('intercept', 1),
                                      ('r2', 4)))])
        return text + '\n' * bool(text) + table(
            'Training step against image area: ms per megapixel',
            ['subject', *sizes, 'slope', 'intercept ms', 'R^2'], lines)
