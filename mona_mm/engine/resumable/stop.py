"""Ending in good order when a cluster wants its machine back."""
import os
import signal
import threading
import time
from functools import partial
from typing import Any, Callable, List, Optional

import torch
import torch.distributed as dist
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from mona_mm.compat import in_children, installed, is_inside
from mona_mm.errors import Interrupted
from mona_mm.registry import HOOKS
from mona_mm.starting import usual

from ..optim import wrappers_of
from .saving import AtomicCheckpointHook
from .state import RunStateHook, find_hook

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: A launcher passes on what a terminal or a scheduler has sent to everyone:
#: within so many seconds it is the same request.
_ECHO = 2.0


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """On SIGTERM or SIGINT: finish the iteration, save, exit with 85.

    The checkpoint is ``interrupted.pth``, ``last_checkpoint`` points to it,
    and ``--resume`` goes on from it. With gradient accumulation the step is
    completed first. During validation one process stops at once and repeats
    the validation when it is resumed; several finish it. A second signal
    ends the process where it is (slurm's SIGTERM, which it repeats, does not:
    SIGKILL is what it ends with). Several processes agree on the iteration
    through a gloo group of their own, whose sum they read one iteration
    later, so that nobody waits.
    """

    priority = 'LOWEST'  # after this iteration's regular checkpoint

    def __init__(self) -> None:
        self.asked: Optional[float] = None
        self.handlers: dict = {}
        self.group = self.sum = self.work = None

    def before_train(self, runner: Runner) -> None:
        """Start to listen; signals are the main thread's."""
        self.loop = runner.train_loop
        if runner.distributed:
            self.group = dist.new_group(backend='gloo')
        for loop in (runner.train_loop, runner.val_loop):
            if loop is not None:
                loader = loop.dataloader
                loader.worker_init_fn = partial(_deafen,
                                                loader.worker_init_fn)
        if threading.current_thread() is threading.main_thread():
            _give_all_back()  # of trainings that an error has ended
            _listening.append(self)
            # Pools of processes, as metrics use them, end their workers by
            # SIGTERM and wait until they are gone.
            in_children(_give_all_back)
            installed('signals of a training', _give_all_back)
            self.handlers = {
                number: usual(number, signal.signal(number, self._hear))
                for number in _SIGNALS
            }

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Stop if asked, and agreed.

        Raises:
            Interrupted: Once the checkpoint is in place.
        """
        wanted = self._agreed() if self.group else self.asked is not None
        # No accumulated gradient is to be lost.
        if wanted and all(w.should_update() for w in wrappers_of(runner)):
            self._stop(runner, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def after_val_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Break off the validation of a training that has one process.

        Raises:
            Interrupted: Once the checkpoint is in place.
        """
        if not self.handlers or self.group or self.asked is None:
            return
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.before_val_epoch(runner)  # swaps the weights back
        state = find_hook(runner, RunStateHook)
        if state is not None:
            state.validate = True
        self._stop(runner, dict(epoch=runner.epoch, iter=runner.iter))

    def after_val(self, runner: Runner) -> None:
        """Stop between a validation and the next epoch.

        Raises:
            Interrupted: Once the checkpoint is in place.
        """
        if not self.handlers:
            return
        if self.group:
            wanted = self._agreed(wait=True)
        else:
            wanted = self.asked is not None
        if wanted:
            self._stop(runner, dict(epoch=runner.epoch, iter=runner.iter))

    def after_train(self, runner: Runner) -> None:
        """Give the signals back."""
        if self.work is not None:
            self.work.wait()
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}
        if self in _listening:
            _listening.remove(self)

    def _hear(self, number: int, frame: Any) -> None:
        now = time.monotonic()
        if not is_inside(self.loop, frame):  # an error has ended the training
            self._give_back()
            os.kill(os.getpid(), number)
        elif self.asked is None:
            self.asked = now
            os.write(2, f'{signal.Signals(number).name}: finishing this '
                     'iteration and saving; a second one ends at once\n'
                     .encode())
        elif now - self.asked > _ECHO and not (
                number == signal.SIGTERM and 'SLURM_JOB_ID' in os.environ):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _agreed(self, wait: bool = False) -> bool:
        """Whether any process was asked, as all of them know by now."""
        if self.work is not None:
            self.work.wait()
        known = self.sum is not None and bool(self.sum)
        self.sum = torch.tensor(int(self.asked is not None or known))
        self.work = dist.all_reduce(self.sum, group=self.group, async_op=True)
        if wait:
            self.work.wait()
            return bool(self.sum)
        return known

    def _stop(self, runner: Runner, meta: dict) -> None:
        hook = find_hook(runner, AtomicCheckpointHook)
        if hook is None:
            hook = AtomicCheckpointHook()
            hook.before_train(runner)
        path = hook.save_interrupted(runner, meta)
        for number in self.handlers:  # all is saved: nothing to hurry for
            signal.signal(number, signal.SIG_IGN)
        if told := os.environ.get('MONA_MM_STOPPED'):
            with open(told, 'a') as file:  # tools/torchrun.py reads it
                file.write(f'{runner.rank}\n')
        runner.logger.info(
            f'stopped by a signal after iteration {meta["iter"]}; {path} is '
            f'saved, go on with --resume (exit status {Interrupted.status})')
        raise Interrupted


def _deafen(inner: Optional[Callable], worker: int) -> None:
    """Let a data loader's worker hear signals of its parent alone.

    A terminal and a scheduler signal the whole group; the parent still needs
    its workers then. Only where a signal tells its sender (Linux).
    """
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        threading.Thread(target=_heed_parent, args=(os.getppid(), ),
                         daemon=True).start()
    if inner is not None:
        inner(worker)


def _heed_parent(parent: int) -> None:
    """End when the parent says so, as PyTorch's own workers do.

    A parent that an error ends terminates its workers once and waits for
    them without a limit: whoever misses that signal keeps it for ever.
    """
    while signal.sigwaitinfo(_SIGNALS).si_pid != parent:
        pass
    os._exit(0)


def _give_all_back() -> None:
    for hook in reversed(_listening[:]):
        hook._give_back()


_listening: List[StopOnSignalHook] = []
