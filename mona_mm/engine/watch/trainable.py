"""Does what should train really train, and nothing else?"""
from functools import partial
from typing import Dict, List, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mona_mm.checkpoint.models import unwrapped
from mona_mm.registry import HOOKS
from mona_mm.text import some

from ..optim import wrappers_of


@HOOKS.register_module()
class TrainabilityCheckHook(Hook):
    """Stop training if the wrong parameters train.

    After some steps of the optimizer it compares every parameter with its
    value before training, and looks at the gradients that came by:
    parameters that should train must have got one and moved, frozen ones must
    be as they were. Of a parameter whose gradients were all exactly zero
    nothing can be told yet (a branch for objects sees none in empty
    pictures): it looks again after twice as many steps, and so on. It holds a
    copy of the weights that it still has to judge.

    Args:
        after (int): Steps of the optimizer before the check: with gradients
            that accumulate, fewer than iterations. Defaults to 10.

    Raises:
        ValueError: If ``after`` is no positive integer.
    """

    priority = 'LOW'  # after the optimizer's step

    def __init__(self, after: int = 10) -> None:
        if not isinstance(after, int) or after < 1:
            raise ValueError('TrainabilityCheckHook: after must be a '
                             f'positive integer, but got {after!r}')
        self.after = self.due = after

    def before_train(self, runner: Runner) -> None:
        """Remember all weights, listen for gradients, and count steps."""
        #: {name: whether any of its gradients was other than zero}
        self.gradients: Dict[str, Tensor] = {}
        self.start: Dict[str, Tensor] = {}
        self.handles = []
        for name, param in unwrapped(runner.model).named_parameters():
            self.start[name] = param.detach().clone()
            if param.requires_grad:
                self.handles.append(
                    param.register_post_accumulate_grad_hook(
                        partial(self._note, name)))
        wrappers = wrappers_of(runner)
        self.steps = [0] * len(wrappers)

        def count(i: int, *args) -> None:
            self.steps[i] += 1

        for i, one in enumerate(wrappers):
            self.handles.append(
                one.optimizer.register_step_post_hook(partial(count, i)))

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Check when every optimizer has made so many steps.

        Raises:
            RuntimeError: If something trains that should not, or the other
                way round; the message names it.
        """
        if not self.start or min(self.steps) < self.due:
            return
        faults, unknown = self._judge(unwrapped(runner.model))
        if faults:
            self._forget()
            raise RuntimeError(f'trainability check after {self.due} '
                               f'steps: {"; ".join(faults)}')
        if unknown:
            runner.logger.info(
                f'trainability check after {self.due} steps: cannot tell yet '
                f'of {len(unknown)} parameters ({some(unknown)}), whose '
                'gradients were all exactly zero; all others are right. It '
                f'looks again after {2 * self.due}')
            self.start = {name: self.start[name] for name in unknown}
            self.due *= 2
            return
        runner.logger.info(
            f'trainability check: after {self.due} steps every parameter '
            'that should train has moved, and no frozen one has')
        self._forget()

    def after_train(self, runner: Runner) -> None:
        """Say what could not be told."""
        if self.start and self.due > self.after:
            runner.logger.warning(
                f'trainability check: training ended before it could be told '
                f'whether {len(self.start)} parameters train '
                f'({some(list(self.start))}): when it looked, after '
                f'{self.due // 2} steps, their gradients had all been zero')
        elif self.start:
            runner.logger.warning(
                f'trainability check: training ended after '
                f'{min(self.steps)} steps of the optimizer, before step '
                f'{self.after}; nothing was checked')
        self._forget()

    def _note(self, name: str, param: nn.Parameter) -> None:
        if name in self.start:  # on the device: nothing is waited for
            seen = self.gradients.get(name, False)
            self.gradients[name] = param.grad.detach().any() | seen

    @torch.no_grad()
    def _judge(self, model: nn.Module) -> Tuple[List[str], List[str]]:
        """Faults in words, and the names of which nothing can be told."""
        silent, still, changed, unknown = [], [], [], []
        for name, param in model.named_parameters():
            if name not in self.start:
                continue
            moved = not param.equal(self.start[name])
            if not param.requires_grad:
                changed += [name] if moved else []
            elif name not in self.gradients:
                silent.append(name)
            elif not self.gradients[name]:
                unknown.append(name)
            elif not moved:
                still.append(name)
        told = (('should train but got no gradient', silent),
                ('got gradients but did not move', still),
                ('are frozen but changed', changed))
        return [
            f'{len(names)} parameters {what} ({some(names)})'
            for what, names in told if names
        ], unknown

    def _forget(self) -> None:
        for handle in self.handles:
            handle.remove()
        self.start, self.handles = {}, []
