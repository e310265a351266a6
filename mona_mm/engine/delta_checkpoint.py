"""Checkpoints of a few megabytes, which cannot be misloaded."""
from typing import Any, Dict

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from mona_mm.checkpoint.delta import check_places, slim
from mona_mm.checkpoint.models import unwrapped
from mona_mm.checkpoint.record import records
from mona_mm.errors import ConfigError
from mona_mm.registry import HOOKS


@HOOKS.register_module()
class DeltaCheckpointHook(Hook):
    """Save what trains, and a record of the frozen base instead of the base.

    Every checkpoint that the Runner saves then holds the inserted and the
    trained parameters, neck and head, buffers, and whatever else the Runner
    puts in (optimizer ...). Loading it, by whatever way, refills the frozen
    base from where it came from and checks it by content. It stays full
    while a frozen base has no known source; one line in the log says so.

    Args:
        full_checkpoint (bool): Save the frozen base as well. Defaults to
            False.

    Raises:
        ConfigError: If an EMAHook would run after it; EMAHook needs
            checkpoints that are complete.
    """

    priority = 'LOWEST'  # other hooks expect to see all the weights

    def __init__(self, full_checkpoint: bool = False) -> None:
        self.full_checkpoint = full_checkpoint
        self._told = False

    def before_run(self, runner: Runner) -> None:
        """Check the order of the hooks."""
        later = runner.hooks[runner.hooks.index(self) + 1:]
        if any(isinstance(hook, EMAHook) for hook in later):
            raise ConfigError('EMAHook has the priority LOWEST, and would '
                              'find no frozen weights in checkpoints: give '
                              'it another, such as NORMAL (its default)')

    def after_load_checkpoint(self, runner: Runner,
                              checkpoint: Dict[str, Any]) -> None:
        """Refuse a delta of a backbone that this model does not have.

        A plain backbone would only log the missing base, and stay random.

        Raises:
            CheckpointError: If there is one.
        """
        check_places(unwrapped(runner.model),
                     records(checkpoint.get('state_dict', checkpoint)))

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: Dict[str, Any]) -> None:
        """Take the frozen base out, and put the record in."""
        whole = slim(checkpoint, unwrapped(runner.model), self.full_checkpoint)
        if whole and not self._told:
            self._told = True
            runner.logger.info(
                'checkpoints are saved in full: the frozen base of '
                f'{", ".join(whole)} was not loaded from a file (init_cfg), '
                'so there would be nothing to refill it from')
