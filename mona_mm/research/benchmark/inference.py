"""Throughput of trained backbones, merged and not."""
import copy
from typing import Callable, Dict, Optional

import torch
from torch import Tensor, nn

import mona_mm
from mona_mm.errors import UserError

from .options import Options, Size
from .subjects import Comparison, build
from .timing import Laps, Stopwatch, alternate
from .training import Progress

FUSED = ', fused'


def fuse_function() -> Optional[Callable[[nn.Module], nn.Module]]:
    """``mona_mm.fuse``, if this version has it."""
    found = getattr(mona_mm, 'fuse', None)
    return found if callable(found) else None


def measure_inference(comparison: Comparison, size: Size, options: Options,
                      progress: Progress) -> Dict[str, Dict[str, list]]:
    """Time forward passes of all subjects, fused ones too, in turns.

    Returns:
        dict: ``total``, milliseconds per round, by label; what
        ``mona_mm.fuse`` makes of a method is labelled ``'<method>, fused'``.
    """
    images = options.images(size, comparison.channels)
    models = _models(comparison, options)
    passes = {k: _forward(m, images, options) for k, m in models.items()}
    rounds = options.runs + options.warmup
    with progress(f'inference {size}', rounds * len(passes)) as bar:
        return alternate(passes, options.runs, options.warmup, options.seed,
                         bar.update)


def inference_pairs(comparison: Comparison, found: dict) -> list:
    """(subject, reference) of every ratio, fused subjects included."""
    pairs = list(comparison.pairs)
    for method in comparison.tuners:
        if (fused := method + FUSED) in found:
            references = comparison.references[method].values()
            pairs += [(fused, r) for r in (*references, method)]
    return pairs


def _models(comparison: Comparison, options: Options) -> dict:
    models, fuse = {}, fuse_function()
    for label, builder in comparison.subjects.items():
        model = build(builder, options.seed, options.place)
        model.eval()
        models[label] = model
        if fuse is not None and label in comparison.tuners:
            models[label + FUSED] = _fused(fuse, model, label, comparison)
    return {k: m for k, m in models.items() if m is not None}


def _fused(fuse: Callable, model: nn.Module, label: str,
           comparison: Comparison) -> Optional[nn.Module]:
    copied = copy.deepcopy(model)
    try:
        return fuse(copied) or copied
    except UserError as error:
        note = f'{label} was not fused: {error}'
        if note not in comparison.notes:
            comparison.notes.append(note)
        return None


def _forward(model: nn.Module, images: Tensor,
             options: Options) -> Callable[[], Laps]:

    def run() -> Laps:
        with torch.no_grad(), options.autocast():
            watch = Stopwatch(options.place)
            model(images)
            watch.mark()
            return dict(total=watch.laps()[0])

    return run
