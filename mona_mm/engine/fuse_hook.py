"""Fold a model once its weights are what will be tested."""
from mmengine.hooks import Hook

from mona_mm.ops.fold import foldable, fuse, unfuse
from mona_mm.registry import HOOKS


@HOOKS.register_module()
class FuseHook(Hook):
    """Test the folded model: ``tools/test.py --fuse``.

    It folds after everything else that changes weights (an EMA swaps them
    before the test epoch), and unfolds afterwards.
    """

    priority = 'LOWEST'

    def before_test_epoch(self, runner) -> None:
        """Fold, and say how much."""
        runner.model.eval()
        count = len(foldable(fuse(runner.model)))
        runner.logger.info(
            f'{count} modules folded for inference' if count else
            '--fuse: the model has nothing to fold')

    def after_test_epoch(self, runner, metrics=None) -> None:
        """Unfold."""
        unfuse(runner.model)
