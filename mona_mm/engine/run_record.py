"""What became of a run, in one file beside its checkpoints."""
import json
import logging
import os.path as osp
import resource
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Optional

import torch
from mmengine.device import get_device
from mmengine.dist import get_world_size, master_only
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner

from mona_mm.checkpoint.describe import describe_tuner
from mona_mm.checkpoint.models import tuned_backbone, unwrapped
from mona_mm.compat import resumes
from mona_mm.config import changes
from mona_mm.engine.device import device_name, versions
from mona_mm.errors import ConfigError
from mona_mm.registry import HOOKS
from mona_mm.text import read_json, write_atomically

#: The file's name within the work dir.
RUN_RECORD = 'run.json'
_PACKAGES = ('torch', 'mmengine', 'mmcv', 'mona_mm')
#: What a resumed run goes on with.
_KEPT = dict(started=str, sessions=int, wall_seconds=float, memory_mib=float,
             last=dict, best=dict)
_ROOT = Path(__file__).parents[2]


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Write ``run.json`` into the work dir; ``tools/report.py`` reads it.

    It holds the config and what the command line changed in it, the seed,
    when and on what the run ran, the seconds of training and validation over
    all sessions, the peak memory of one process (what PyTorch allocated on a
    GPU, else the resident set), how far the run is, and the last and the
    highest value of every validation metric. It is rewritten with each
    checkpoint, after each validation and at the end. A resumed run goes on
    with the record that it finds.
    """

    priority = 'LOWEST'  # the end is when all others are done

    def __init__(self) -> None:
        self.record: Dict[str, Any] = {}
        self.seconds = 0.0  # of earlier sessions
        self.began = 0.0

    @master_only
    def before_train(self, runner: Runner) -> None:
        """Start a record, or go on with that of the resumed run."""
        old = _read(runner.work_dir) if resumes(runner) else {}
        self.began, self.seconds = time.time(), old.get('wall_seconds', 0.0)
        config = Path(runner.cfg.filename or '').resolve()
        if config.is_relative_to(_ROOT):
            config = config.relative_to(_ROOT)
        kind, count = torch.device(get_device()), get_world_size()
        device = f'{count} x ' * (count > 1) + device_name(kind)
        if kind.type == 'cpu':
            device += f', {torch.get_num_threads()} threads'
        iters = _counts_iters(runner)
        tuned: Dict[str, Any] = dict(tuner={})  # nothing of another model
        if (backbone := tuned_backbone(unwrapped(runner.model))) is not None:
            share = backbone.share()
            tuned = dict(tuner=describe_tuner(backbone.tuner),
                         method=backbone.tuner.display_name,
                         trained=share.trained, share=share.ratio)
        self.record = dict(
            config=config.as_posix(),
            changed=changes(runner.cfg),
            tuner_option=runner.cfg.get('tuner_option', {}).get('name'),
            **tuned,
            seed=runner.seed,
            device=device,
            world_size=count,
            unit='iter' if iters else 'epoch',
            total=runner.max_iters if iters else runner.max_epochs,
            versions=versions(_PACKAGES),
            started=old.get('started', _now()),
            sessions=old.get('sessions', 0) + 1,
            memory_mib=old.get('memory_mib', 0.0),
            last=old.get('last', {}),
            best=old.get('best', {}),
            finished=False)
        self._write(runner, _done(runner))

    @master_only
    def before_save_checkpoint(self, runner: Runner,
                               checkpoint: dict) -> None:
        """Write how far the run is."""
        if self.record:
            meta = checkpoint['meta']
            self._write(runner, meta[self.record['unit']])

    @master_only
    def after_val_epoch(self,
                        runner: Runner,
                        metrics: Optional[Dict[str, float]] = None) -> None:
        """Write the metrics of a validation within a training."""
        if not self.record:
            return
        found = _numbers(metrics or {})
        best = self.record['best']
        self.record['last'] = found
        self.record['best'] = {
            **best,
            **{k: max(v, best.get(k, v)) for k, v in found.items()}
        }
        self._write(runner, _done(runner))

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write that the run has ended as it should."""
        self.record['finished'] = True
        self._write(runner, _done(runner))

    def _write(self, runner: Runner, done: int) -> None:
        if torch.cuda.is_available():
            peak = torch.cuda.max_memory_allocated() / 2**20
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        self.record.update(
            done=done,
            ended=_now(),
            wall_seconds=round(self.seconds + time.time() - self.began, 1),
            memory_mib=max(self.record['memory_mib'], round(peak, 1)))
        with write_atomically(osp.join(runner.work_dir, RUN_RECORD)) as path:
            Path(path).write_text(json.dumps(self.record, indent=1))


def _counts_iters(runner: Runner) -> bool:
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def _done(runner: Runner) -> int:
    return runner.iter if _counts_iters(runner) else runner.epoch


def _numbers(metrics: Dict[str, Any]) -> Dict[str, float]:
    numbers: Dict[str, float] = {}
    for key, value in metrics.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue  # tables per class and the like
        if number == number:
            numbers[key] = number
    return numbers


def _read(folder: str) -> Dict[str, Any]:
    """What a resumed run goes on with; nothing of a damaged record.

    Training matters more than its record, so a damaged one does not stop
    it: it is kept aside, and said.
    """
    path = Path(folder, RUN_RECORD)
    if not path.exists():
        return {}  # a run from before there were records
    try:
        found = read_json(path, f'a readable {RUN_RECORD}')
        if not isinstance(found, dict) or not all(
                isinstance(found.get(key, kind()), kind)
                for key, kind in _KEPT.items()):
            raise ConfigError(f'{path}: not a {RUN_RECORD} as training '
                              'writes it')
        return {key: _numbers(value) if key in ('last', 'best') else value
                for key, value in found.items() if key in _KEPT}
    except (ConfigError, OSError) as error:
        aside = path.with_name(f'{RUN_RECORD}.damaged')
        path.replace(aside)
        print_log(f'{error}. A new record is begun, the old one is kept as '
                  f'{aside}', 'current', logging.WARNING)
        return {}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='seconds')
