"""Measures of training: bytes kept, time of a step, peak memory, area."""
import gc
from statistics import median
from typing import Callable, Dict, Optional

import torch

from mona_mm.tuners import build_tuner

from .options import Options, Size
from .published import published_saved_mib
from .ratios import fit_line
from .saved import saved_activations
from .step import TrainingStep
from .subjects import Builder, Comparison, build, set_skip
from .timing import alternate

MIB = 2**20
Progress = Callable[[str, int], 'Bar']


class Bar:
    """What a measure needs of a progress bar (tqdm has it)."""

    def update(self, n: int = 1) -> object:
        """Advance by n."""

    def __enter__(self) -> 'Bar':
        return self

    def __exit__(self, *exc) -> None:
        """Close."""


def measure_saved(comparison: Comparison, size: Size, options: Options,
                  progress: Progress) -> dict:
    """Count the bytes that every subject keeps for its backward pass.

    Returns:
        dict: ``activations_mib``, ``cache_mib`` and, where that was
        measured, ``published_mib``, by label.
    """
    images, rows = options.images(size, comparison.channels), {}
    with progress(f'saved {size}', len(comparison.subjects)) as bar:
        for label, builder in comparison.subjects.items():
            model = build(builder, options.seed, options.place)
            model.train()
            set_skip(model, False)
            torch.manual_seed(options.seed)
            with options.autocast():
                saved = saved_activations(model, images)
            rows[label] = dict(
                activations_mib=saved.activations / MIB,
                cache_mib=saved.cache / MIB,
                published_mib=_published(comparison, size, options, label))
            bar.update()
    return rows


def measure_time(comparison: Comparison, size: Size, options: Options,
                 progress: Progress) -> Dict[str, Dict[str, list]]:
    """Time training steps of all subjects in turns.

    Returns:
        dict: Milliseconds per round, by label and part of the step.
    """
    rounds = options.runs + options.warmup
    steps = steps_of(comparison.subjects, comparison, size, options)
    with progress(f'time {size}', rounds * len(steps)) as bar:
        return alternate(steps, options.runs, options.warmup, options.seed,
                         bar.update)


def measure_memory(comparison: Comparison, size: Size, options: Options,
                   progress: Progress) -> Optional[Dict[str, dict]]:
    """Measure the GPU memory of a training step, one subject at a time.

    Returns:
        dict, optional: ``peak_mib`` within a step and ``resident_mib``
        between steps (weights, optimizer state, caches), by label, without
        what was there before; ``None`` on a CPU.
    """
    if options.place.type != 'cuda':
        return None
    rows = {}
    with progress(f'memory {size}', len(comparison.subjects)) as bar:
        for label, builder in comparison.subjects.items():
            rows[label] = _peak(builder, comparison, size, options)
            bar.update()
    return rows


def measure_area(comparison: Comparison, options: Options,
                 progress: Progress) -> Dict[str, dict]:
    """Time the step of one image at several sizes, and fit a line.

    Returns:
        dict: By label: ``total_ms`` (rounds, by size), ``megapixels`` (by
        size), and ``line``: slope in ms per megapixel, intercept in ms and
        R^2 of the medians, or ``None`` with less than three sizes.
    """
    subjects = comparison.without_line_by_line
    rows = {k: dict(total_ms={}, megapixels={}) for k in subjects}
    count = (options.area_runs + 1) * len(subjects)
    for side in options.area_sizes:
        size = Size(1, side, side)
        steps = steps_of(subjects, comparison, size, options)
        with progress(f'area {size}', count) as bar:
            found = alternate(steps, options.area_runs, 1, options.seed,
                              bar.update)
        for label, laps in found.items():
            rows[label]['total_ms'][str(size)] = laps['total']
            rows[label]['megapixels'][str(size)] = size.megapixels
    for row in rows.values():
        row['line'] = _line(row)
    return rows


def _published(comparison: Comparison, size: Size, options: Options,
               label: str) -> Optional[float]:
    """The published figure, for a method in its default setting alone."""
    tuner = {**comparison.others, **comparison.tuners}.get(label)
    if tuner is not None and not _is_default(tuner):
        return None
    return published_saved_mib(comparison, options.dtype, size, label)


def _is_default(tuner: dict) -> bool:
    """Whether a tuner config says nothing but what its defaults say."""
    default = build_tuner(dict(type=tuner['type']))
    return vars(build_tuner(dict(tuner))) == vars(default)


def steps_of(subjects: Dict[str, Builder], comparison: Comparison,
             size: Size, options: Options) -> Dict[str, TrainingStep]:
    """Build the training step of every subject on the same images."""
    images, steps = options.images(size, comparison.channels), {}
    for label, builder in subjects.items():
        model = build(builder, options.seed, options.place)
        set_skip(model, options.skip_dropped)
        steps[label] = TrainingStep(model, comparison.optim_wrapper, images,
                                    options)
    return steps


def _peak(builder: Builder, comparison: Comparison, size: Size,
          options: Options) -> dict:
    gc.collect()  # nothing dropped may be freed while it is measured
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    step = steps_of({'it': builder}, comparison, size, options)['it']
    for _ in range(2):  # the first step makes the optimizer's state
        step()
    resident = torch.cuda.memory_allocated() - before
    torch.cuda.reset_peak_memory_stats()
    step()
    peak = torch.cuda.max_memory_allocated() - before
    return dict(peak_mib=peak / MIB, resident_mib=resident / MIB)


def _line(row: dict) -> Optional[dict]:
    if len(row['megapixels']) < 3:
        return None
    y = [median(rounds) for rounds in row['total_ms'].values()]
    return fit_line(list(row['megapixels'].values()), y)._asdict()
