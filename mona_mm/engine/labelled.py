"""Stopping where batch after batch holds nothing to learn from."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mona_mm.errors import UserError
from mona_mm.labels.batch import IGNORED, is_labelled, samples_of
from mona_mm.registry import HOOKS
from mona_mm.text import some


class NothingLabelled(UserError):
    """A run's batches hold no labelled pixel and no box."""


@HOOKS.register_module()
class LabelledBatchHook(Hook):
    """Stop training when no batch has had a label for a while.

    The loss is then zero, or that of the background alone, and falls nicely.
    A picture without objects, and a crop that misses them, are no error: it
    takes ``patience`` batches in a row, or a whole epoch if that is shorter,
    and never less than 10. Only labels on the host are looked at.

    Args:
        patience (int): Batches in a row without a label. Defaults to 100.

    Raises:
        ValueError: If ``patience`` is no positive integer.
    """

    priority = 'HIGH'  # before anything is saved

    def __init__(self, patience: int = 100) -> None:
        if not isinstance(patience, int) or patience < 1:
            raise ValueError('LabelledBatchHook: patience must be a positive '
                             f'integer, but got {patience!r}')
        self.patience = patience
        self.empty = 0  # in a row
        self.ignored = IGNORED

    def before_train(self, runner: Runner) -> None:
        """Ask the model which pixels it ignores."""
        self.empty = 0
        self.ignored = next(
            (m.ignore_index for m in runner.model.modules()
             if isinstance(getattr(m, 'ignore_index', None), int)), IGNORED)

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch=None, outputs=None) -> None:
        """Count batches without a label.

        Raises:
            NothingLabelled: If there were too many in a row.
        """
        samples = list(samples_of(data_batch))
        if not samples or any(
                is_labelled(s, self.ignored) for s in samples):
            self.empty = 0
            return
        self.empty += 1
        epoch = len(runner.train_dataloader)
        if self.empty < min(self.patience, max(epoch, 10)):
            return
        paths = [str(getattr(s, 'img_path', '?')) for s in samples]
        raise NothingLabelled(
            f'the last {self.empty} batches hold no box and no labelled '
            f'pixel (iteration {runner.iter + 1}; the last pictures: '
            f'{some(paths, 3)}), so there is nothing to learn. Look at the '
            'values of label pictures (reduce_zero_label; '
            f'{self.ignored} counts for nothing), the names in '
            'metainfo.classes, and crops in the pipeline; for sets of mostly '
            'empty pictures, filter_cfg=dict(filter_empty_gt=True), or '
            'default_hooks.labelled.patience')
