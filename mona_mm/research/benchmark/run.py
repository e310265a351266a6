"""Measure comparisons one after the other, and report as they finish."""
import copy
import json
import warnings
from typing import Callable, Dict, List, Sequence

import torch

from mona_mm.errors import ConfigError

from .inference import Inference
from .launches import Launches, Shapes
from .measure import Measure
from .optimizer import Optimizer
from .options import Options, Size, check_known, environment
from .saved import Saved
from .subjects import Comparison
from .training import Area, Memory, Time

#: In the order in which they are taken and shown.
MEASURES: Dict[str, type] = {cls.name: cls for cls in (
    Saved, Time, Inference, Memory, Launches, Shapes, Optimizer, Area)}
_SKIPPED = {
    True: 'left out of timed steps',
    False: 'computed in timed steps',
    'auto': 'left out of timed steps of our backbones on a CPU',
}


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
        ConfigError: If there is no such measure, or the device's memory does
            not suffice.
    """
    only = list(options.only or MEASURES)
    check_known('--only', only, tuple(MEASURES))
    result = dict(
        environment=environment(options.place),
        protocol=dict(
            dtype=options.dtype,
            sizes=[str(s) for s in options.sizes],
            area_sizes=[str(Size(1, s, s)) for s in options.area_sizes],
            measures=only,
            runs=options.runs,
            area_runs=options.area_runs,
            skip_dropped=options.skip_dropped,
            warmup=options.warmup,
            seed=options.seed))
    show(header(result))
    classes = [cls for name, cls in MEASURES.items() if name in only]
    try:
        with warnings.catch_warnings():
            # About the way in which mmpretrain recomputes.
            warnings.filterwarnings(
                'ignore', 'torch.utils.checkpoint: the use_r')
            result['comparisons'] = [
                _measure(comparison, classes, options, show)
                for comparison in comparisons]
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f'the memory of {options.place} does not suffice ({error}); give '
            'smaller --sizes, or fewer --methods at once') from error
    left = [name for name in MEASURES if name not in only]
    result['not_measured'] = [
        *[f'left out by --only: {", ".join(left)}'] * bool(left),
        'anything on a CPU' if options.place.type == 'cuda' else
        'anything on a GPU, peak memory and kernels among it (no figure of '
        'these is taken on a CPU)',
        'necks, heads, losses of real tasks and data loading: the backbone '
        'alone runs, on random images and random weights',
        'several processes']
    show('\n'.join(['\n## Not measured\n', *(
        f'- {gap}' for gap in result['not_measured'])]))
    return result


def _measure(comparison: Comparison, classes: List[type], options: Options,
             show: Callable) -> dict:
    found = dict(
        name=comparison.name,
        configs=comparison.configs,
        references=copy.deepcopy(comparison.references),
        sizes={},
        # With nothing in it that JSON does not know.
        **json.loads(json.dumps(dict(
            backbone=comparison.backbone,
            optim_wrapper=comparison.optim_wrapper,
            methods=comparison.tuners), default=str)))
    show(title(comparison))
    told = len(comparison.notes)

    def take(measure: Measure, into: dict) -> None:
        if measure.on_gpu and options.place.type != 'cuda':
            into[measure.name] = None
            return
        rows = measure.measure()
        ratios = measure.ratios(rows)
        into[measure.name] = dict(subjects=rows, ratios=ratios)
        show(measure.show(rows, ratios))

    for size in options.sizes:
        of_size = found['sizes'][str(size)] = dict(size._asdict())
        for cls in classes:
            if not cls.once:
                take(cls(comparison, options, size), of_size)
    for cls in classes:
        if cls.once:
            take(cls(comparison, options), found)
    for note in comparison.notes[told:]:
        show(f'\nNote: {note}.')
    found['notes'] = comparison.notes
    return found


def header(result: dict) -> str:
    """Where, with what and how everything is measured."""
    here, how = result['environment'], result['protocol']
    versions = ', '.join(f'{k} {v}' for k, v in here['versions'].items())
    set_ = ', '.join(f'{k}={v}' for k, v in here['variables'].items())
    load, cores = here['load_average'][0], here['cores']
    busy = ' (other work runs here: do not trust the times)'
    dtype = f'autocast to {how["dtype"]}'
    if how['dtype'] == 'float32':
        dtype = f'float32, matmul precision {here["matmul_precision"]}'
    return '\n'.join([
        '# Benchmark of tuned backbones\n',
        f'- {here["date"]}, {here["device"]} ({here["device_type"]}'
        f'{", CUDA " + here["cuda"] if here["cuda"] else ""}), '
        f'{cores} cores, {here["threads"]} threads, load average at the '
        f'start {load}{busy if load > cores / 2 else ""}',
        f'- {versions}, Python {here["python"]}, {here["system"]}'
        f'{"; " + set_ if set_ else ""}',
        f'- {dtype}; sizes '
        f'(batch x pixels) {", ".join(how["sizes"])}; seed {how["seed"]}; '
        f'{how["runs"]} rounds after {how["warmup"]} that do not count (area: '
        f'{how["area_runs"]} after 1), subjects in turns',
        '- branches that drop-path zeroes: '
        f'{_SKIPPED[how["skip_dropped"]]}; saved activations count them all',
    ])


def title(comparison: Comparison) -> str:
    """What the tables below it have in common."""
    backbone = comparison.backbone
    cp = 'with' if backbone.get('with_cp') else 'without'
    kind = comparison.optim_wrapper['optimizer']['type']
    return '\n'.join([
        f'\n## {comparison.name}\n',
        f'Drop-path {backbone["drop_path_rate"]:g}, {cp} checkpointing, '
        f'{kind}. The backbone alone.',
        *(f'Note: {note}.' for note in comparison.notes)])
