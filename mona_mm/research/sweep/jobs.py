"""One run of a sweep, and how far it is."""
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from mona_mm.engine.run_record import RUN_RECORD
from mona_mm.errors import ConfigError
from mona_mm.text import read_json, write_atomically

_PLAN = 'sweep.json'
_ROOT = Path(__file__).parents[3]
#: Of ``--cfg-options``, together with a number: learning rate of what trains
#: in the backbone over that of neck and head.
BACKBONE_RATE = 'optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult='


@dataclass(frozen=True)
class Job:
    """A config, a seed, and where the run goes.

    Attributes:
        config (str): Its path.
        seed (int): ``randomness.seed`` of the run.
        folder (Path): Its work dir.
        tuner (str | None): For ``--tuner``.
        options (tuple[str]): Further ``KEY=VALUE`` of ``--cfg-options``.
        extra (tuple[str]): Further arguments of ``tools/train.py``.
        gpus (int): Processes of the run; at most one on a CPU.
    """
    config: str
    seed: int
    folder: Path = Path()
    tuner: Optional[str] = None
    options: Tuple[str, ...] = ()
    extra: Tuple[str, ...] = ()
    gpus: int = 1

    @property
    def stem(self) -> str:
        """Config and tuner, as ``tools/train.py`` names work dirs."""
        tuner = f'_{Path(self.tuner).stem}' if self.tuner else ''
        return Path(self.config).stem + tuner

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f'{self.stem} seed {self.seed}'

    def into(self, work_dir: str) -> 'Job':
        """The same job in a folder of its own."""
        return replace(
            self, folder=Path(work_dir, self.stem, f'seed{self.seed}'))

    @property
    def log(self) -> Path:
        """What the run prints, all its sessions one after the other."""
        return self.folder / 'sweep.log'

    def command(self) -> List[str]:
        """The command line that starts the run or goes on with it."""
        if self.gpus > 1:
            start = ['env', f'PYTHON={sys.executable}', 'bash',
                     str(_ROOT / 'tools/dist_train.sh'), self.config,
                     str(self.gpus)]
        else:
            start = [sys.executable, str(_ROOT / 'tools/train.py'),
                     self.config]
        tuner = [f'--tuner={self.tuner}'] if self.tuner else []
        return [*start, *tuner, f'--work-dir={self.folder}', '--resume',
                *self.extra, '--cfg-options', f'randomness.seed={self.seed}',
                *self.options]

    def record(self) -> Dict:
        """``run.json`` of the run, empty before it started.

        Raises:
            ConfigError: If the file is damaged.
        """
        return self._read(RUN_RECORD, 'a run record') or {}

    def _read(self, name: str, what: str) -> Optional[Dict]:
        path = self.folder / name
        try:
            found = read_json(path, what)
        except FileNotFoundError:
            return None
        if not isinstance(found, dict):
            raise ConfigError(f'{path} is not {what}; remove {self.folder} '
                              'to run it afresh')
        return found

    def state(self) -> str:
        """``'finished'``, ``'unfinished'`` or ``'new'``."""
        record = self.record()
        if not record:
            return 'new'
        return 'finished' if record.get('finished') else 'unfinished'

    def claim(self) -> None:
        """Note in the work dir what it is for.

        Raises:
            ConfigError: If another run is there already.
        """
        path = self.folder / _PLAN
        plan = dict(config=self.config, seed=self.seed, gpus=self.gpus,
                    options=list(self.options), extra=list(self.extra))
        if self.tuner:
            plan['tuner'] = self.tuner
        found = self._read(_PLAN, "a sweep's note of what runs here")
        if found is not None:
            if found != plan:
                raise ConfigError(
                    f'{self.folder} holds the run {found}, not {plan}: name '
                    'another --work-dir, or remove that folder')
            return
        if (self.folder / RUN_RECORD).is_file():
            raise ConfigError(f'{self.folder} holds a run that no sweep '
                              'started: name another --work-dir')
        with write_atomically(path) as part:
            Path(part).write_text(json.dumps(plan, indent=1))
