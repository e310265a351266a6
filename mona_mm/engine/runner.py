"""mmengine's Runner, which keeps what earlier runs wrote."""
import os
import os.path as osp
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mona_mm.config import class_of
from mona_mm.errors import ConfigError
from mona_mm.starting import leave_signals
from mona_mm.text import write_atomically

from .shard import ShardedRunner

#: The folder within a work dir for the configs that others have replaced.
EARLIER = 'earlier_configs'


class CarefulRunner:
    """Mixin: dump the config once all is checked, and keep earlier ones.

    mmengine's Runner dumps its config into the work dir as soon as it is
    built, over that of the run that lies there, and only then loads the
    checkpoint, which may be refused.
    """

    def dump_config(self) -> None:
        """Leave it to the hook that runs when training or testing starts."""
        self.register_hook(_DumpConfigHook(), priority='LOWEST')

    def build_visualizer(self, visualizer=None):
        """Let ``show_dir`` count from the folder of the run's time stamp."""
        show_dir = self.cfg.get('show_dir')
        if show_dir and isinstance(visualizer, dict):
            visualizer['save_dir'] = osp.join(self.log_dir, show_dir)
        return super().build_visualizer(visualizer)

    def register_hooks(self, default_hooks=None, custom_hooks=None) -> None:
        """As above, for a hook that draws into a folder of its own."""
        show_dir = self.cfg.get('show_dir')
        hook = (default_hooks or {}).get('visualization') or {}
        if show_dir and 'out_dir' in hook:
            hook['out_dir'] = osp.join(self.log_dir, show_dir)
        super().register_hooks(default_hooks, custom_hooks)


def careful_runner(cfg: Config) -> Runner:
    """Build the Runner of a config, of whatever class it names.

    Raises:
        ConfigError: If there is no such class.
    """
    kind = class_of(cfg.get('runner_type', Runner), RUNNERS)
    if kind is None:
        raise ConfigError(f'runner_type {cfg.runner_type!r}: there is no '
                          'such class')
    mixins = (CarefulRunner, )
    if cfg.get('shard') is not None:
        mixins += (ShardedRunner, )
    return type(kind.__name__, (*mixins, kind), {}).from_cfg(cfg)


class _DumpConfigHook(Hook):
    """Dump the config after all other hooks have agreed to start."""

    def before_train(self, runner: Runner) -> None:
        """Put it beside the checkpoints; the one before it is kept."""
        if is_main_process():
            path, text = self._place(runner), runner.cfg.dump()
            if path.is_file() and path.read_text() != text:
                stamp = osp.basename(runner.log_dir)
                kept = path.parent / EARLIER / (
                    f'{path.stem}_until_{stamp}{path.suffix}')
                kept.parent.mkdir(exist_ok=True)
                os.replace(path, kept)
            self._write(path, text)
        leave_signals()  # to the hook that saves, or to nobody

    @master_only
    def before_test(self, runner: Runner) -> None:
        """Leave that of the training that lies there alone."""
        path = self._place(runner)
        if path.exists():
            path = Path(runner.log_dir, path.name)
        self._write(path, runner.cfg.dump())

    def _place(self, runner: Runner) -> Path:
        return Path(runner.work_dir, osp.basename(
            runner.cfg.filename or f'{runner.timestamp}.py'))

    def _write(self, path: Path, text: str) -> None:
        with write_atomically(path) as partial:
            Path(partial).write_text(text)
