"""The optimizer's step: our parameter groups against mmengine's."""
from statistics import median
from typing import List

import torch

from .measure import (
    ROUNDS,
    Measure,
    Rows,
    compared,
    find,
    number,
    shown,
    table,
)
from .step import build_optim, timed, trains
from .subjects import build

OURS = 'DeltaOptimWrapperConstructor'
DEFAULT = 'DefaultOptimWrapperConstructor'


class Optimizer(Measure):
    """The time of the optimizer's step with both constructors.

    The gradients are there and stay; both optimizers work on the same
    parameters. Subjects of which nothing trains are left out.

    Figures: by constructor ``groups``, ``tensors`` (parameters in them) and
    ``step_ms`` per round.
    """

    name = 'optimizer'
    once = True

    def measure(self) -> Rows:
        rows, options = {}, self.options
        for label, builder in self.comparison.without_line_by_line.items():
            model = build(builder, options.seed, options.place)
            if not trains(model):
                continue
            wrappers = {
                name: build_optim(model, self.comparison.optim_wrapper,
                                  name == OURS) for name in (OURS, DEFAULT)}
            for param in model.parameters():
                if param.requires_grad:
                    param.grad = torch.full_like(param, 1e-3)
            laps = self.in_turns({
                name: lambda w=wrapper: timed(w.optimizer.step, options.place)
                for name, wrapper in wrappers.items()})
            rows[label] = {
                name: dict(
                    groups=len(wrapper.param_groups),
                    tensors=sum(
                        len(g['params']) for g in wrapper.param_groups),
                    step_ms=laps[name]['total'])
                for name, wrapper in wrappers.items()}
        return rows

    def ratios(self, rows: Rows) -> List[dict]:
        return [compared(label, DEFAULT, row[OURS]['step_ms'],
                         row[DEFAULT]['step_ms'])
                for label, row in rows.items()]

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        return table(
            f'Optimizer step: {OURS} against mmengine\'s default, {ROUNDS}', [
                'subject', 'ratio', 'groups', 'tensors', 'ms',
                'default groups', 'default tensors', 'default ms'],
            [[label, shown(find(ratios, method=label, against=DEFAULT)), *(
                text for name in (OURS, DEFAULT)
                for text in (str(row[name]['groups']),
                             str(row[name]['tensors']),
                             number(median(row[name]['step_ms']), 2)))]
             for label, row in rows.items()])
