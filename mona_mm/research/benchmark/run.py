"""Measure comparisons one after the other, and report as they finish."""
import copy
import warnings
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Sequence

import torch
from tqdm import tqdm

from mona_mm.errors import ConfigError

from . import report
from .compare import RATIOS
from .device_work import measure_launches, measure_shapes
from .environment import environment
from .inference import fuse_function, measure_inference
from .optimizer import measure_optimizer
from .options import MEASURES, Options, Size
from .subjects import Comparison
from .training import (
    Bar,
    measure_area,
    measure_memory,
    measure_saved,
    measure_time,
)

_BY_SIZE = dict(
    saved=measure_saved,
    time=measure_time,
    inference=measure_inference,
    memory=measure_memory,
    launches=measure_launches,
    shapes=measure_shapes)
_ONCE = dict(optimizer=measure_optimizer, area=measure_area)


def benchmark(comparisons: Sequence[Comparison],
              options: Options,
              show: Callable[[str], object] = print) -> dict:
    """Measure, and show each table as soon as it is there.

    Args:
        comparisons (Sequence[Comparison]): What to compare.
        options (Options): How to measure.
        show (Callable): Gets pieces of text. Defaults to ``print``.

    Returns:
        dict: ``environment``, ``protocol``, ``comparisons`` (raw times
        included) and ``not_measured``, as plain data.

    Raises:
        ConfigError: If the device's memory does not suffice.
    """
    result = dict(
        environment=environment(options.place),
        protocol=_protocol(options))
    show(report.header(result))
    try:
        with _quiet():
            result['comparisons'] = [
                _measure(c, options, show) for c in comparisons
            ]
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f'the memory of {options.place} does not suffice ({error}); give '
            'smaller --sizes, or fewer --methods at once') from error
    result['not_measured'] = _not_measured(options)
    show(report.footer(result))
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch about the way in which mmpretrain recomputes."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'torch.utils.checkpoint: the use_r')
        yield


def _measure(comparison: Comparison, options: Options, show: Callable) -> dict:
    found = _described(comparison)
    show(report.title(comparison))
    told = len(comparison.notes)
    for size in options.sizes:
        of_size = found['sizes'][str(size)] = dict(size._asdict())
        for name, measure in _BY_SIZE.items():
            if name in options.only:
                rows = measure(comparison, size, options, _progress)
                of_size[name] = _with_ratios(name, comparison, rows)
                if rows is not None:
                    show(report.TABLES[name](comparison, size, of_size[name]))
    for name, measure in _ONCE.items():
        if name in options.only:
            rows = measure(comparison, options, _progress)
            found[name] = _with_ratios(name, comparison, rows)
            show(report.TABLES[name](comparison, found[name]))
    for note in comparison.notes[told:]:
        show(f'\nNote: {note}.')
    found['notes'] = comparison.notes
    return found


def _with_ratios(name: str, comparison: Comparison, rows: dict) -> dict:
    if rows is None:
        return None
    return dict(subjects=rows, ratios=RATIOS[name](comparison, rows))


def _progress(text: str, total: int) -> Bar:
    """A bar on stderr; none where stderr is no terminal."""
    return tqdm(desc=text, total=total, leave=False, disable=None)


def _described(comparison: Comparison) -> dict:
    return dict(
        name=comparison.name,
        configs=comparison.configs,
        backbone=_plain_data(comparison.backbone),
        optim_wrapper=_plain_data(comparison.optim_wrapper),
        methods=_plain_data(comparison.tuners),
        references=copy.deepcopy(comparison.references),
        sizes={})


def _plain_data(value: object) -> object:
    """The value with nothing in it that JSON does not know."""
    if isinstance(value, dict):
        return {str(k): _plain_data(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_data(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _protocol(options: Options) -> Dict[str, object]:
    return dict(
        dtype=options.dtype,
        sizes=[str(s) for s in options.sizes],
        area_sizes=[str(Size(1, s, s)) for s in options.area_sizes],
        measures=list(options.only),
        runs=options.runs,
        area_runs=options.area_runs,
        skip_dropped=options.skip_dropped,
        warmup=options.warmup,
        seed=options.seed)


def _not_measured(options: Options) -> List[str]:
    left = [m for m in MEASURES if m not in options.only]
    gaps = [f'left out by --only: {", ".join(left)}'] if left else []
    if options.place.type == 'cpu':
        gaps.append('anything on a GPU, peak memory and kernels among it (no '
                    'figure of these is taken on a CPU)')
    else:
        gaps.append('anything on a CPU')
    if fuse_function() is None and 'inference' in options.only:
        gaps.append('fused inference: this version has no mona_mm.fuse')
    return gaps + [
        'necks, heads, losses of real tasks and data loading: the backbone '
        'alone runs, on random images and random weights',
        'several processes'
    ]
