"""Stopping where a loss stops being a number."""
import math
from typing import Any, Dict, List, Optional

import numpy as np
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mona_mm.compat import resumes, started_from
from mona_mm.data.labels.batch import flat_boxes
from mona_mm.errors import UserError
from mona_mm.registry import HOOKS
from mona_mm.text import some

from ..resumable.state import find_hook


class NonFiniteLoss(UserError):
    """A loss became NaN or infinite."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop training, or warn, when the loss is NaN or infinite.

    The message names the parts of the loss that are, and boxes without area
    in the last two batches. Metrics of a validation that are NaN are said.

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
        self.batches: list = [None, None]  # the last two

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch=None,
                         outputs: Optional[dict] = None) -> None:
        """Look at the loss.

        Raises:
            NonFiniteLoss: If it is wrong, and has been ``patience`` times.
        """
        self.batches = [self.batches[1], data_batch]
        if self.every_n_train_iters(runner, self.interval):
            self._judge(runner, _loss(runner, outputs))

    def after_val_epoch(self, runner: Runner,
                        metrics: Optional[dict] = None) -> None:
        """Say which metrics are no number; none of them becomes the best."""
        lost = not_numbers(metrics or {})
        if lost:
            runner.logger.warning(
                f'the metrics {some(lost)} are nan: the validation set has '
                'no label that they could count')

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
            hook = find_hook(runner, CheckpointHook)
            self.good = getattr(
                hook, 'last_saved', getattr(hook, 'last_ckpt', None)) or (
                    started_from(runner) if resumes(runner) else None)
        self.wrong += 1
        if self.wrong != self.patience + 1:
            return
        rates = ', '.join(
            f'{name} {values[0]:g}'
            for name, values in runner.optim_wrapper.get_lr().items())
        last = {name.removeprefix('train/'): float(log.current())
                for name, log in runner.message_hub.log_scalars.items()
                if name.startswith('train/') and 'loss' in name
                and len(log.data[0])}
        parts = [f'{name} is {number}' for name, number in last.items()
                 if name != 'loss' and not math.isfinite(number)]
        message = (
            f'the loss is {value} at iteration {runner.iter + 1} (epoch '
            f'{runner.epoch + 1}, {rates})'
            f'{": " * bool(parts)}{", ".join(parts)}; last good checkpoint: '
            f'{self.good or "none yet"}. {_causes(self.batches)}')
        if self.action == 'stop':
            raise NonFiniteLoss(message)
        runner.logger.warning(message)


def not_numbers(metrics: Dict[str, Any]) -> List[str]:
    """The names of the metrics that are NaN.

    Args:
        metrics (dict): Of a validation; some values may be no scalars.
    """
    return [k for k, v in metrics.items()
            if isinstance(v, (float, np.floating)) and math.isnan(v)]


def _causes(batches: list) -> str:
    flat = [text for batch in batches for text in flat_boxes(batch)]
    if flat:
        return ('Boxes without area are in its batch or the one before: '
                f'{some(flat, 4)}. Correct these labels, or leave them out: '
                'filter_cfg=dict(bbox_min_size=1) for labels in XML, '
                "dict(type='mmdet.FilterAnnotations', min_gt_bbox_wh=(1, 1), "
                'keep_empty=False) in the pipeline for others')
    return ('A lower learning rate, optim_wrapper.clip_grad, or bfloat16 '
            'instead of float16 are the usual remedies; labels that are '
            'wrong (boxes without area or outside the picture) another '
            'cause')


def _loss(runner: Runner, outputs: Optional[dict]) -> Optional[float]:
    log = runner.message_hub.log_scalars.get('train/loss')
    if log is not None and len(log.data[0]):
        return float(log.current())
    if outputs and 'loss' in outputs:  # RuntimeInfoHook is switched off
        return float(outputs['loss'])
    return None
