"""Runs, as the `run.json` of their work dirs tells of them."""
import json
import math
import os.path as osp
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from mona_mm.errors import ConfigError
from mona_mm.ledger.metrics import find
from mona_mm.ledger.naming import method_of

FILE = 'run.json'
_NUMBER = (int, float)
_OPTIONAL = type(None)
#: What every record has, and what may be missing or null.
_REQUIRED = dict(config=str, started=str, done=_NUMBER, total=_NUMBER,
                 unit=str, finished=bool, last=dict)
_MAY = dict(seed=int, ended=str, device=str, world_size=int,
            memory_mib=_NUMBER, wall_seconds=_NUMBER, sessions=int,
            tuner=dict, trained=int, share=_NUMBER, changed=list, best=dict,
            versions=dict, by=str, by_hand=list)
#: Where something is, not what is done: no deviation.
_PLACES = re.compile(r'(--)?(work_dir|work-dir|randomness\.seed|seed)|'
                     r'(.+\.)?(data_root|sub_data_root)|'
                     r'(.+\.)?data_prefix(\..+)?|'
                     r'(.+\.)?init_cfg\.checkpoint')


@dataclass(frozen=True)
class Run:
    """One training run.

    Args:
        config (str): Relative to the project if inside, else absolute.
        started (str): ISO date and time; with config and seed it tells runs
            apart.
        done (float): Epochs or iterations trained.
        total (float): As many as the run is meant to have.
        unit (str): ``'epoch'`` or ``'iter'``.
        finished (bool): Whether it came to its end.
        last (dict): Metrics of the last validation, as logged.
        seed (int | None): Its random seed.
        ended (str | None): ISO date and time.
        device (str | None): In words.
        world_size (int | None): Processes.
        memory_mib (float | None): Peak of one process.
        wall_seconds (float | None): Training and validation, all sessions.
        sessions (int | None): One more than it was resumed.
        tuner (dict | None): Its ``type`` is the method.
        trained (int | None): Parameters of the backbone that train.
        share (float | None): Of all parameters of the backbone.
        changed (list[str]): What the command line changed.
        best (dict): The greatest value of each metric.
        versions (dict): Of libraries.
        by (str): Who ran it; known in the ledger only.
        by_hand (list[str]): Keys in ``last`` that were added afterwards.
        source (str): The file; not part of the record.
    """

    config: str
    started: str
    done: float
    total: float
    unit: str
    finished: bool
    last: Dict[str, float]
    seed: Optional[int] = None
    ended: Optional[str] = None
    device: Optional[str] = None
    world_size: Optional[int] = None
    memory_mib: Optional[float] = None
    wall_seconds: Optional[float] = None
    sessions: Optional[int] = None
    tuner: Optional[Dict[str, Any]] = None
    trained: Optional[int] = None
    share: Optional[float] = None
    changed: List[str] = field(default_factory=list)
    best: Dict[str, float] = field(default_factory=dict)
    versions: Dict[str, str] = field(default_factory=dict)
    by: str = ''
    by_hand: List[str] = field(default_factory=list)
    source: str = ''

    @property
    def key(self) -> Tuple:
        """What tells it from every other run."""
        return self.config, self.started, str(self.seed)

    @property
    def method(self) -> Optional[str]:
        """The method of its tuner, None if the record has no tuner."""
        return method_of(self.tuner['type']) if (
            self.tuner and 'type' in self.tuner) else None

    @property
    def deviations(self) -> Tuple[str, ...]:
        """What the command line changed, seed and places left out."""
        return tuple(map(_without_folder, filter(_matters, self.changed)))

    @property
    def progress(self) -> str:
        """How far it got, in words."""
        return f'{self.done:g} of {self.total:g} {self.unit}s'

    def record(self) -> dict:
        """What :func:`parse_run` reads, without places of this machine."""
        record = {k: v for k, v in asdict(self).items() if k != 'source'}
        return dict(record, changed=list(self.deviations))


def collect(dirs: Iterable) -> List[Run]:
    """Read every `run.json` in and under some folders.

    Args:
        dirs (Iterable[str | Path]): Work dirs, or folders of them.

    Returns:
        list[Run]: Ordered by config, start and seed; a run that lies there
        twice is one, the copy that got further.

    Raises:
        ConfigError: If a folder does not exist or holds no run, or a file
            is damaged.
    """
    return unique(read_run(p) for folder in dirs for p in _files(folder))


def unique(runs: Iterable[Run]) -> List[Run]:
    """Keep one of each run, what got further or comes later, and order them.

    Args:
        runs (Iterable[Run]): Any runs.

    Returns:
        list[Run]: Ordered by config, start and seed.
    """
    kept: Dict[Tuple, Run] = {}
    for run in runs:
        other = kept.get(run.key)
        if other is None or _far(run) >= _far(other):
            kept[run.key] = run
    return [kept[key] for key in sorted(kept)]


def _far(run: Run) -> Tuple:
    return run.finished, run.done


def _files(folder) -> List[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f'{folder}: no such folder; expected a work dir, '
                          'or a folder of work dirs')
    found = sorted(folder.rglob(FILE))
    if not found:
        raise ConfigError(
            f'{folder}: no {FILE} in or under it, so no run to report; '
            'training with tools/train.py writes one into its work dir')
    return found


def read_run(path) -> Run:
    """Read one file.

    Args:
        path (str | Path): A `run.json`.

    Returns:
        Run: What it tells.

    Raises:
        ConfigError: If it cannot be read or lacks something.
    """
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f'{path}: not a readable {FILE} ({error}); mend or remove '
            'it') from None
    return parse_run(content, str(path))


def parse_run(content: Any, source: str = '') -> Run:
    """Check a record and make a run of it.

    Args:
        content (Any): What JSON gave; keys that are not known are left out.
        source (str): What errors name.

    Returns:
        Run: The run.

    Raises:
        ConfigError: If a key is missing or has a wrong type.
    """
    if not isinstance(content, dict):
        raise _damaged(source, 'a record', content, dict)
    for key, kinds in _REQUIRED.items():
        _check(content, key, kinds, source)
    for key in set(_MAY) & set(content):
        _check(content, key, _MAY[key], source, null=True)
    names = {f.name for f in fields(Run)} - {'source'}
    known = {k: v for k, v in content.items()
             if k in names and (v is not None or k in _REQUIRED)}
    for key in {'last', 'best'} & set(known):
        known[key] = _finite(known[key], key, source)
    return Run(**known, source=source)


def _check(content: dict, key: str, kinds, source: str,
           null: bool = False) -> None:
    value = content.get(key)
    if null and value is None:
        return
    wrong_bool = isinstance(value, bool) and kinds is not bool
    if wrong_bool or not isinstance(value, kinds):
        raise _damaged(source, repr(key), value, kinds)


def _damaged(source: str, what: str, value: Any, kinds) -> ConfigError:
    kinds = kinds if isinstance(kinds, tuple) else (kinds, )
    expected = ' or '.join(kind.__name__ for kind in kinds)
    return ConfigError(
        f'{source}: {what} is {value!r}, expected {expected}; this is not '
        f'a {FILE} as training writes it: mend or remove it')


def _finite(values: Mapping[str, Any], key: str,
            source: str) -> Dict[str, float]:
    """Without what is not finite: a metric that has no value."""
    for name in values:
        _check(dict(values), name, _NUMBER, f'{source}, {key}', null=True)
    return {k: v for k, v in values.items()
            if v is not None and math.isfinite(v)}


def _matters(change: str) -> bool:
    return not _PLACES.fullmatch(str(change).split('=')[0].strip())


def _without_folder(change: str) -> str:
    """An annotation file may be another one, but its folder is nobody's."""
    name, sign, value = str(change).partition('=')
    return f'{name}{sign}{osp.basename(value)}' if osp.isabs(
        value) else f'{name}{sign}{value}'


def with_results(run: Run, results: Mapping[str, float]) -> Run:
    """Add metrics that were measured after training.

    Args:
        run (Run): A run.
        results (Mapping[str, float]): By the key that a log would have.

    Returns:
        Run: Its copy, which says that they were added by hand.

    Raises:
        ConfigError: If a key is not known, or a value is out of its range.
    """
    for key, value in results.items():
        _check_result(key, value)
    return Run(**{**asdict(run), 'last': {**run.last, **results},
                  'by_hand': sorted({*run.by_hand, *results})})


def _check_result(key: str, value: float) -> None:
    from mona_mm.ledger.metrics import METRICS
    metric = find(key)
    if metric is None:
        known = ', '.join(dict.fromkeys(m.key for m in METRICS))
        raise ConfigError(f'result {key!r}: expected one of {known}')
    top = 100 / metric.scale
    if not 0 <= value <= top:
        raise ConfigError(f'result {key}={value:g}: expected 0 to {top:g}, '
                          'as the mm libraries log it')
