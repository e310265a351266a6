"""Stopping where a loss stops being a number."""
import math
from typing import Optional

from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mona_mm.errors import UserError
from mona_mm.registry import HOOKS

from .run_state import find_hook


class NonFiniteLoss(UserError):
    """A loss became NaN or infinite."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop training, or warn, when the loss is NaN or infinite.

    It looks at the value that mmengine's RuntimeInfoHook has copied to the
    host for the log in that step anyway, so it adds no synchronisation with
    the GPU. Gradients that overflow are the loss scaler's business: it skips
    such a step, and the loss of the next is finite again.

    Args:
        interval (int): Look at every n-th step. Defaults to 1.
        patience (int): Values in a row that may be wrong before it acts;
            float16 can overflow once and recover. Defaults to 0.
        action (str): ``'stop'`` or ``'warn'``. Defaults to ``'stop'``.

    Raises:
        ValueError: If an argument is none of these.
    """

    priority = 'HIGH'  # after the log has the value, before anything is saved

    def __init__(self, interval: int = 1, patience: int = 0,
                 action: str = 'stop') -> None:
        for name, value, least in (('interval', interval, 1),
                                   ('patience', patience, 0)):
            if not isinstance(value, int) or value < least:
                raise ValueError(f'NonFiniteLossHook: {name} must be an '
                                 f'integer of at least {least}, but got '
                                 f'{value!r}')
        if action not in ('stop', 'warn'):
            raise ValueError("NonFiniteLossHook: action must be 'stop' or "
                             f"'warn', but got {action!r}")
        self.interval, self.patience, self.action = interval, patience, action
        self.wrong = 0  # in a row

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Look at the loss.

        Raises:
            NonFiniteLoss: If it is wrong, and has been ``patience`` times.
        """
        if self.every_n_train_iters(runner, self.interval):
            self._judge(runner, _loss(runner, outputs))

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Between two looks, do not save what may be broken already.

        Raises:
            NonFiniteLoss: As above.
        """
        if not self.wrong:
            self._judge(runner, _loss(runner, None))

    def _judge(self, runner: Runner, value: Optional[float]) -> None:
        if value is None or math.isfinite(value):
            self.wrong = 0
            return
        if not self.wrong:
            self.good = _last_saved(runner)
        self.wrong += 1
        if self.wrong == self.patience + 1:
            self._act(runner, value)

    def _act(self, runner: Runner, value: float) -> None:
        rates = ', '.join(
            f'{name} {values[0]:g}'
            for name, values in runner.optim_wrapper.get_lr().items())
        message = (
            f'the loss is {value} at iteration {runner.iter + 1} (epoch '
            f'{runner.epoch + 1}, {rates}); last good checkpoint: '
            f'{self.good or "none yet"}. A lower learning rate, '
            'optim_wrapper.clip_grad, or bfloat16 instead of float16 are the '
            'usual remedies')
        if self.action == 'stop':
            raise NonFiniteLoss(message)
        runner.logger.warning(message)


def _last_saved(runner: Runner) -> Optional[str]:
    hook = find_hook(runner, CheckpointHook)
    saved = getattr(hook, 'last_saved', getattr(hook, 'last_ckpt', None))
    return saved or (runner._load_from if runner._resume else None)


def _loss(runner: Runner, outputs: Optional[dict]) -> Optional[float]:
    log = runner.message_hub.log_scalars.get('train/loss')
    if log is not None and len(log.data[0]):
        return float(log.current())
    if outputs and 'loss' in outputs:  # RuntimeInfoHook is switched off
        return float(outputs['loss'])
    return None
