"""Whose schedule a resumed run follows: its checkpoint's, or its config's."""
import copy
import warnings
from typing import Any, Dict, Iterator

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mona_mm.compat import resumes, started_from
from mona_mm.errors import ConfigError
from mona_mm.registry import HOOKS

from ..optim import wrappers_of

#: Of a scheduler's state: where it is, not what it does.
_PLACE = ('last_step', '_global_step', '_last_value', 'base_values',
          'verbose')


@HOOKS.register_module()
class ScheduleHook(Hook):
    """Say when a resumed run does not follow its config's schedule.

    mmengine takes the schedulers from the checkpoint, with their ends and
    milestones: a run that is made longer stays at the learning rate that the
    old schedule ended with.

    Args:
        renew (bool): Follow the config's schedule instead, from where it
            would be had the run had it from the start. Defaults to False.
    """

    priority = 'VERY_HIGH'  # before the Runner uses what was loaded

    def __init__(self, renew: bool = False) -> None:
        self.renew = renew

    def after_load_checkpoint(self, runner: Runner,
                              checkpoint: Dict[str, Any]) -> None:
        """Compare both schedules, or leave the checkpoint's out.

        Raises:
            ConfigError: If the config has no schedule to renew.
        """
        if not resumes(runner):
            return
        if self.renew:
            if not runner.param_schedulers:
                raise ConfigError('--new-schedule: the config has no '
                                  'param_scheduler')
            checkpoint.pop('param_schedulers', None)
            return
        unit = 'iters' if isinstance(
            runner.train_loop, IterBasedTrainLoop) else 'epochs'
        hub = checkpoint.get('message_hub')
        info = hub.get('runtime_info', {}) if isinstance(hub, dict) else {}
        now = getattr(runner, f'max_{unit}')
        then = info.get(f'max_{unit}', now)
        other = [_settings(s) for s in _each(
            checkpoint.get('param_schedulers') or [])] != [
            _settings(s.state_dict())
            for s in _each(runner.param_schedulers or [])]
        if then != now or other:
            plan = f'was planned for {then} {unit} and goes on to {now}, ' if (
                then != now) else 'goes on '
            runner.logger.warning(
                f'--resume: the run {plan}with the schedule of its '
                'checkpoint, not with that of the config. Once that one has '
                'ended, the learning rate stays where it is. With '
                '--new-schedule the run goes on with the config\'s, as if '
                'that had been its schedule from the start; to begin a '
                'schedule anew from these weights: --cfg-options '
                f'load_from={started_from(runner)}, without --resume')

    def before_train(self, runner: Runner) -> None:
        """Bring the config's schedule to where the run is."""
        if not (self.renew and resumes(runner)):
            return
        for wrapper in wrappers_of(runner):
            for group in wrapper.optimizer.param_groups:
                for key in [k for k in group if k.startswith('initial_')]:
                    if (value := key.removeprefix('initial_')) in group:
                        group[value] = group[key]
        runner.param_schedulers = runner.build_param_scheduler(
            copy.deepcopy(runner.cfg.param_scheduler))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # that no optimizer steps between
            # As the run would have: they build on each other's values.
            schedulers = list(_each(runner.param_schedulers))
            length, left = len(runner.train_dataloader), runner.iter
            for epoch in range(runner.epoch + 1):
                last = epoch == runner.epoch
                steps = left if last else min(length, left)
                left -= steps
                for by_epoch in [False] * steps + [True] * (not last):
                    for scheduler in schedulers:
                        if scheduler.by_epoch == by_epoch:
                            scheduler.step()
        rates = ', '.join(f'{name} {values[0]:g}' for name, values in
                          runner.optim_wrapper.get_lr().items())
        runner.logger.info(f'--new-schedule: the config\'s schedule is at '
                           f'{rates} here')


def _each(schedulers: Any) -> Iterator[Any]:
    """All of them, of one optimizer or several."""
    if isinstance(schedulers, dict):
        for some in schedulers.values():
            yield from some
    else:
        yield from schedulers


def _settings(state: Dict[str, Any]) -> Dict[str, Any]:
    return {k: v for k, v in state.items() if k not in _PLACE}
