"""Labels while a run goes: known classes, and something to learn from."""
from typing import Any, Dict

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mona_mm.compat import built_loops, resumes, started_from
from mona_mm.data.labels.batch import IGNORED, is_labelled, samples_of
from mona_mm.data.labels.names import as_names, difference, recorded_classes
from mona_mm.errors import CheckpointError, UserError
from mona_mm.registry import HOOKS
from mona_mm.text import some


class NothingLabelled(UserError):
    """A run's batches hold no labelled pixel and no box."""


def set_labels_hook(cfg: Config) -> None:
    """Put :class:`LabelsHook` among the hooks, unless it is switched off.

    Args:
        cfg (Config): Changed in place; ``default_hooks.labels=None`` is left
            alone, and so are the hook's arguments.
    """
    hooks = dict(cfg.get('default_hooks') or {})
    given = hooks.get('labels', {})
    if given is not None:
        hooks['labels'] = dict(dict(type='mona_mm.LabelsHook'), **given)
        cfg.default_hooks = hooks


@HOOKS.register_module()
class LabelsHook(Hook):
    """Refuse a checkpoint of other classes, and batches without labels.

    A run that goes on, and a test, have the classes that the checkpoint was
    trained for, in its order; a run that only starts from its weights is
    warned.

    Training stops when no batch has had a label for a while: the loss is
    then zero, or that of the background alone, and falls nicely. A picture
    without objects, and a crop that misses them, are no error: it takes
    ``patience`` batches in a row. Of pixels a whole epoch is enough if that is
    shorter, and never less than 10: sets of empty pictures are made on
    purpose, sets of ignored pixels are not. Only labels on the host are
    looked at.

    Args:
        patience (int): Batches in a row without a label. Defaults to 100.

    Raises:
        ValueError: If ``patience`` is no positive integer.
    """

    priority = 'HIGH'  # before anything is saved

    def __init__(self, patience: int = 100) -> None:
        if not isinstance(patience, int) or patience < 1:
            raise ValueError('LabelsHook: patience must be a positive '
                             f'integer, but got {patience!r}')
        self.patience = patience
        self.empty = 0  # in a row
        self.ignored = IGNORED

    def after_load_checkpoint(self, runner: Runner,
                              checkpoint: Dict[str, Any]) -> None:
        """Compare the classes that it was trained for with the data's.

        Raises:
            CheckpointError: If they differ, and the run goes on or tests.
        """
        # In a training the validation's loop may not be built yet.
        loops = built_loops(runner)
        phase = next(iter(loops), None)
        if phase is None:
            return
        data = loops[phase].dataloader.dataset
        own = as_names(getattr(data, 'metainfo', {}).get('classes'))
        then = recorded_classes(checkpoint)
        told = own and then and difference(
            own, then, f'{phase}_dataloader', str(started_from(runner)))
        if not told:
            return
        if phase != 'train' or resumes(runner):
            raise CheckpointError(
                f'{started_from(runner)} was trained for other classes: '
                f'{told}')
        if len(own) == len(then):  # a head of another size is not loaded
            runner.logger.warning(f'{told}. The weights of its head are '
                                  'loaded for classes that they do not mean')

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
        limit = self.patience
        if any('gt_sem_seg' in s for s in samples):
            limit = min(limit, max(len(runner.train_dataloader), 10))
        if self.empty < limit:
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
            'default_hooks.labels.patience')
