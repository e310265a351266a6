"""The learning rates of all parameter groups, for logs and trackers."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mona_mm.registry import HOOKS


@HOOKS.register_module()
class LearningRatesHook(Hook):
    """Log the learning rate of every parameter group.

    mmengine logs that of the first one, group 0, as ``lr``. Where there are
    more (``delta_lr_mult``, ``custom_keys``) they are logged beside it as
    ``group1_lr``, ``group2_lr`` ..., in the order in which the log lists
    them when training starts.
    """

    priority = 'VERY_HIGH'  # with mmengine's own, before anything is logged

    def before_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Put them where logs take their numbers from."""
        for name, rates in runner.optim_wrapper.get_lr().items():
            for i, rate in enumerate(rates[1:], 1):
                runner.message_hub.update_scalar(
                    f'train/group{i}_{name}', rate)
