"""Does what should train really train, and nothing else?"""
from typing import Dict, List

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mona_mm.registry import HOOKS
from mona_mm.text import some


@HOOKS.register_module()
class TrainabilityCheckHook(Hook):
    """Stop training if the wrong parameters train.

    After some steps it compares every parameter with its value before
    training, and looks at the gradients that came by: parameters that should
    train must have got one and moved, frozen ones must be as they were. It
    holds a copy of the weights until then.

    Args:
        after (int): Steps before the check. Defaults to 10.

    Raises:
        ValueError: If ``after`` is no positive integer.
    """

    priority = 'LOW'  # after the optimizer's step

    def __init__(self, after: int = 10) -> None:
        if not isinstance(after, int) or after < 1:
            raise ValueError('TrainabilityCheckHook: after must be a '
                             f'positive integer, but got {after!r}')
        self.after = after

    def before_train(self, runner: Runner) -> None:
        """Remember all weights and listen for gradients."""
        self.first = runner.iter
        self.seen: set = set()
        self.start: Dict[str, Tensor] = {}
        self.handles = []
        for name, param in _model(runner).named_parameters():
            self.start[name] = param.detach().clone()
            if param.requires_grad:
                self.handles.append(
                    param.register_post_accumulate_grad_hook(
                        self._noter(name)))

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Check once, after the given number of steps.

        Raises:
            RuntimeError: If something trains that should not, or the other
                way round; the message names it.
        """
        if not self.start or runner.iter + 1 - self.first < self.after:
            return
        faults = self._faults(_model(runner))
        self._forget()
        if faults:
            raise RuntimeError(f'trainability check after {self.after} '
                               f'steps: {"; ".join(faults)}')
        runner.logger.info(
            f'trainability check: after {self.after} steps every parameter '
            'that should train has moved, and no frozen one has')

    def after_train(self, runner: Runner) -> None:
        """Say so if training was too short for the check."""
        if self.start:
            runner.logger.warning(
                f'trainability check: training ended before step '
                f'{self.after}; nothing was checked')
            self._forget()

    def _noter(self, name: str):
        return lambda param: self.seen.add(name)

    def _faults(self, model: nn.Module) -> List[str]:
        silent, still, changed = [], [], []
        for name, param in model.named_parameters():
            moved = not param.detach().equal(self.start[name])
            if not param.requires_grad:
                changed += [name] if moved else []
            elif name not in self.seen:
                silent.append(name)
            elif not moved:
                still.append(name)
        told = (('should train but got no gradient', silent),
                ('got gradients but did not move', still),
                ('are frozen but changed', changed))
        return [
            f'{len(names)} parameters {what} ({some(names)})'
            for what, names in told if names
        ]

    def _forget(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.start, self.handles = {}, []


def _model(runner: Runner) -> nn.Module:
    model = runner.model
    return model.module if is_model_wrapper(model) else model
