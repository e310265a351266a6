"""An epoch loop that can go on in the middle of an epoch."""
from itertools import islice
from typing import Iterable, Iterator

from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader, IterableDataset

from mona_mm.registry import LOOPS


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """mmengine's epoch loop, whose first epoch may have been begun before.

    :class:`RunStateHook` sets :attr:`done` from the checkpoint: so many
    batches of the epoch are not loaded again, and batch indices (and with
    them the log) count on from there. Takes the arguments of
    ``EpochBasedTrainLoop``.
    """

    #: Batches of the coming epoch that a previous run has trained on.
    done: int = 0

    def run_epoch(self) -> None:
        """Train on what is left of one epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done, self.done = self.done, 0
        batches = rest(self.dataloader, done)
        for index, batch in enumerate(batches, start=done):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


def rest(loader: DataLoader, done: int) -> Iterable:
    """The batches of one pass after the first ``done``.

    Args:
        loader (DataLoader): Batches by index are skipped without loading
            them, those of an iterable dataset by reading them.
        done (int): How many.
    """
    if not done:
        return loader
    if isinstance(loader.dataset, IterableDataset) or (
            loader.batch_sampler is None):
        return islice(loader, done, None)
    workers = dict(
        prefetch_factor=loader.prefetch_factor,
        multiprocessing_context=loader.multiprocessing_context,
        timeout=loader.timeout) if loader.num_workers else {}
    return DataLoader(
        loader.dataset,
        batch_sampler=_Later(loader.batch_sampler, done),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
        **workers)


class _Later:
    """The batches of indices of a sampler, without its first ones."""

    def __init__(self, sampler, done: int) -> None:
        self.sampler, self.done = sampler, done

    def __iter__(self) -> Iterator:
        return islice(iter(self.sampler), self.done, None)

    def __len__(self) -> int:
        return max(len(self.sampler) - self.done, 0)
