"""What mmengine's checkpoints lack for going on exactly where a run was."""
import reprlib
from typing import Any, Dict, Iterator, Optional, Type

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mona_mm.compat import resumes, started_from
from mona_mm.errors import CheckpointError
from mona_mm.registry import HOOKS

from .rng import get_rng_state, set_rng_state


@HOOKS.register_module()
class RunStateHook(Hook):
    """Make a resumed run repeat what the uninterrupted one would have done.

    Into the ``meta`` of a checkpoint go the random generators of every
    process (Python, NumPy, PyTorch, CUDA), the sampler's seed, and how many
    batches of the epoch are done. On ``resume`` they come back;
    :class:`ResumableEpochLoop` then goes on within the epoch. Validation, and
    the making of data loader iterators, draw nothing from these generators.

    With data loader workers the order of the data is the same, but random
    augmentations are not: a worker's generators start anew with each pass.
    """

    priority = 'LOWEST'  # last to speak before the first batch is loaded

    def __init__(self) -> None:
        self.first = 0  # iteration at which the epoch began
        self.inside = False  # an epoch
        self.held: Optional[dict] = None  # generators before validation
        self.resumed: Optional[dict] = None
        self.validate = False  # was stopped before its validation ended

    def collect(self, runner: Runner, meta: dict) -> Dict[str, Any]:
        """Describe the run; every process has to call this.

        Args:
            runner (Runner): The runner.
            meta (dict): Of the checkpoint; ``iter`` is looked at.
        """
        own = self.held or get_rng_state()
        return self._described(runner, meta, all_gather_object(own))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the state out of a checkpoint that is resumed.

        Raises:
            CheckpointError: If it is broken.
        """
        if not resumes(runner):
            return
        meta = checkpoint.get('meta', {})
        loader = runner.train_loop.dataloader
        state = meta.get('run_state')
        if not state:  # of somebody else: where was it in its epoch?
            length = len(loader)
            done = meta.get('iter', 0) - meta.get('epoch', 0) * length
            inside = 0 < done <= length
            state = dict(inside=inside, done=done if inside else 0,
                         epoch_length=length)
        if not _is_state(state):
            raise CheckpointError(
                f'{started_from(runner)}: the run_state in its meta is '
                f'broken: {reprlib.repr(state)}')
        if 'optimizer' not in checkpoint:
            runner.logger.warning('the checkpoint holds no optimizer state: '
                                  'the optimizer starts afresh')
        for sampler in _seeded(loader):
            sampler.seed = state.get('sampler_seed', sampler.seed)
        self.resumed = state

    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Describe the run where the checkpoint hook did not.

        mmengine's saves on one process alone, so others' generators cannot
        be asked for here.
        """
        if 'run_state' not in checkpoint['meta'] and 'optimizer' in checkpoint:
            checkpoint['meta']['run_state'] = self._described(
                runner, checkpoint['meta'], [self.held or get_rng_state()])

    def before_train(self, runner: Runner) -> None:
        """Give iterators a generator of their own, and restore the run's."""
        loader = runner.train_loop.dataloader
        loader.generator = torch.Generator()
        state, self.first = self.resumed, runner.iter
        if state is None:
            return
        self.inside = state['inside']
        self.first -= state['done']
        self._go_on_within_epoch(runner, state)
        if not self.inside or state.get('validate'):
            self._restore(runner, state)
        if state.get('validate') and runner.val_loop is not None:
            runner.logger.info('validation was interrupted: it runs again')
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Restore the generators of a run that stopped within an epoch."""
        loader = runner.train_loop.dataloader
        loader.generator.manual_seed((runner.seed or 0) + runner.epoch)
        self.first = runner.iter - getattr(runner.train_loop, 'done', 0)
        if self.resumed is not None and self.inside:
            self._restore(runner, self.resumed)
        self.inside, self.resumed = True, None

    def after_train_epoch(self, runner: Runner) -> None:
        """Close the epoch."""
        self.inside = False
        self.first = runner.iter

    def before_val(self, runner: Runner) -> None:
        """Hold the generators: validation must not move them."""
        self.held = get_rng_state()

    def after_val(self, runner: Runner) -> None:
        """Put them back."""
        if self.held is not None:
            set_rng_state(self.held)
            self.held = None

    def _described(self, runner: Runner, meta: dict, rng: list) -> dict:
        loop = runner.train_loop
        seeds = [int(s.seed) for s in _seeded(loop.dataloader)]
        # A checkpoint by epoch is saved when its epoch is being closed.
        inside = self.inside and meta['epoch'] == runner.epoch
        return dict(
            rng=rng,
            inside=inside,
            done=int(meta['iter'] - self.first) if inside else 0,
            epoch_length=len(loop.dataloader),
            validate=self.validate,
            **(dict(sampler_seed=seeds[0]) if seeds else {}))

    def _go_on_within_epoch(self, runner: Runner, state: dict) -> None:
        loop, done = runner.train_loop, state['done']
        if not done or isinstance(loop, IterBasedTrainLoop):
            return
        length = len(loop.dataloader)
        if length != state['epoch_length']:
            runner.logger.warning(
                f'the checkpoint is {done} of {state["epoch_length"]} '
                f'iterations into its epoch, but an epoch has {length} now '
                '(other data, batch size or number of processes): the epoch '
                'starts again')
        elif not hasattr(loop, 'done'):
            runner.logger.warning(
                f'the checkpoint is {done} iterations into its epoch, but '
                f'{type(loop).__name__} starts the epoch again; '
                "train_cfg.type='mona_mm.ResumableEpochLoop' would go on")
        else:
            loop.done = done
            runner.logger.info(f'{done} of {length} iterations of epoch '
                               f'{runner.epoch + 1} are done already')

    def _restore(self, runner: Runner, state: dict) -> None:
        states = state.get('rng') or []
        if len(states) == get_world_size():
            set_rng_state(states[get_rank()])
        else:
            runner.logger.warning(
                'random generators are not resumed: the checkpoint holds '
                f'those of {len(states)} processes, and {get_world_size()} '
                'run now; random augmentations and dropout will differ')


def find_hook(runner: Runner, kind: Type[Hook]) -> Optional[Hook]:
    """The runner's first hook of a class, or None."""
    return next((h for h in runner.hooks if isinstance(h, kind)), None)


def _is_state(state: Any) -> bool:
    """Whether a file's state of a run has what resuming needs."""
    kinds = dict(inside=bool, done=int, epoch_length=int)
    return isinstance(state, dict) and all(
        type(state.get(name)) is kind for name, kind in kinds.items()
    ) and state['done'] >= 0 and isinstance(
        state.get('rng', []), list) and isinstance(
            state.get('sampler_seed', 0), int)


def _seeded(loader) -> Iterator:
    """Samplers with a seed, wherever the loader keeps them."""
    for owner in (loader, loader.batch_sampler):
        sampler = getattr(owner, 'sampler', None)
        if getattr(sampler, 'seed', None) is not None:
            yield sampler
