"""A training that tells which phase it is in, and is slow enough to hit."""
import time
from pathlib import Path

import runs
from mmengine.config import Config
from mmengine.hooks import Hook

from mona_mm.checkpoint import read_checkpoint

#: Of the whole training.
ITERATIONS = 18


@runs.MMENGINE_HOOKS.register_module(force=True)
class Phases(Hook):
    """Writes the phase into ``phase<rank>`` of the work dir, and waits.

    A rank may fail in its first iteration, or a seed other than 0 until there
    is a file.
    """

    def __init__(self, seconds: float, fail: int = -1,
                 until: str = '') -> None:
        self.seconds, self.fail, self.until = seconds, fail, until

    def tell(self, runner, phase: str) -> None:
        (Path(runner.work_dir) / f'phase{runner.rank}').write_text(phase)
        time.sleep(self.seconds)

    def before_train_iter(self, runner, *args, **kwargs) -> None:
        self.tell(runner, 'train')
        if runner.rank == self.fail or (
                self.until and runner.seed and not Path(self.until).exists()):
            raise ValueError('of the user')

    def before_val_iter(self, runner, *args, **kwargs) -> None:
        self.tell(runner, 'validate')

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        self.tell(runner, 'save')
        time.sleep(self.seconds)  # what has to be written is small


def write_config(folder: Path, name='tiny.py', **phases) -> Path:
    """A config of 18 iterations, two validations and three checkpoints."""
    cfg = runs.config(
        None, runs.save_base(folder / 'base.pth'),
        custom_imports=dict(imports=['runs', 'phases']),
        randomness=dict(seed=7),
        hooks=[dict(type='Phases', **dict(dict(seconds=0.3), **phases))])
    cfg['custom_hooks'][0] = dict(type='RankLosses')
    cfg['default_hooks']['run_record'] = dict(type='mona_mm.RunRecordHook')
    del cfg['work_dir']
    Config(cfg).dump(folder / name)
    return folder / name


def steps(folder: Path, rank=0) -> list:
    """Every iteration that was done, in order, over all sessions."""
    path = folder / f'losses{rank}.txt'
    text = path.read_text() if path.is_file() else ''
    return [int(line.split()[0]) for line in text.splitlines()]


def weights(folder: Path) -> dict:
    """What the training ended with."""
    return read_checkpoint(str(folder / 'epoch_3.pth'))['state_dict']
