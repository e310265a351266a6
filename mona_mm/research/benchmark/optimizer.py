"""The optimizer's step: our parameter groups against mmengine's."""
from typing import Callable, Dict

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from .options import Options
from .step import build_optim, trains
from .subjects import Builder, Comparison, build
from .timing import Laps, Stopwatch, alternate
from .training import Progress

OURS = 'DeltaOptimWrapperConstructor'
DEFAULT = 'DefaultOptimWrapperConstructor'


def measure_optimizer(comparison: Comparison, options: Options,
                      progress: Progress) -> Dict[str, dict]:
    """Time the optimizer's step with both constructors, in turns.

    The gradients are there and stay; both optimizers work on the same
    parameters. Subjects of which nothing trains are left out.

    Returns:
        dict: By label and constructor: ``groups``, ``tensors`` (parameters
        in them) and ``step_ms`` per round.
    """
    subjects, rows = comparison.without_line_by_line, {}
    rounds = 2 * (options.runs + options.warmup)
    with progress('optimizer', rounds * len(subjects)) as bar:
        for label, builder in subjects.items():
            row = _both(builder, comparison, options, bar.update)
            if row:
                rows[label] = row
    return rows


def _both(builder: Builder, comparison: Comparison, options: Options,
          tick: Callable) -> Dict[str, dict]:
    model = build(builder, options.seed, options.place)
    if not trains(model):
        return {}
    wrappers = {
        name: build_optim(model, comparison.optim_wrapper, name == OURS)
        for name in (OURS, DEFAULT)
    }
    _fill_gradients(model)
    laps = alternate({k: _step(w, options) for k, w in wrappers.items()},
                     options.runs, options.warmup, options.seed, tick)
    return {
        name: dict(
            groups=len(wrapper.param_groups),
            tensors=sum(len(g['params']) for g in wrapper.param_groups),
            step_ms=laps[name]['total'])
        for name, wrapper in wrappers.items()
    }


def _fill_gradients(model: nn.Module) -> None:
    for param in model.parameters():
        if param.requires_grad:
            param.grad = torch.full_like(param, 1e-3)


def _step(wrapper: OptimWrapper, options: Options) -> Callable[[], Laps]:

    def run() -> Laps:
        watch = Stopwatch(options.place)
        wrapper.optimizer.step()
        watch.mark()
        return dict(total=watch.laps()[0])

    return run
