"""Runs, as the `run.json` of their work dirs tells of them."""
import os.path as osp
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

from mona_mm.errors import ConfigError
from mona_mm.ledger.metrics import METRICS, find
from mona_mm.ledger.naming import method_of

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
    metric = find(key)
    if metric is None:
        known = ', '.join(dict.fromkeys(m.key for m in METRICS))
        raise ConfigError(f'result {key!r}: expected one of {known}')
    top = 100 / metric.scale
    if not 0 <= value <= top:
        raise ConfigError(f'result {key}={value:g}: expected 0 to {top:g}, '
                          'as the mm libraries log it')
