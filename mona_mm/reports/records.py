"""Records of runs: the ``run.json`` that training writes."""
import json
import math
import os.path as osp
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Tuple

from mona_mm.config import is_deviation
from mona_mm.errors import ConfigError
from mona_mm.text import read_json

from .metrics import METRICS

FILE = 'run.json'
Record = Dict[str, Any]
_NUMBER = (int, float)
#: What every record has, and what may be missing or null.
_REQUIRED = dict(config=str, started=str, done=_NUMBER, total=_NUMBER,
                 unit=str, finished=bool, last=dict)
_MAY = dict(seed=int, ended=str, device=str, world_size=int,
            memory_mib=_NUMBER, wall_seconds=_NUMBER, sessions=int,
            tuner=dict, tuner_option=str, method=str, trained=int,
            share=_NUMBER, changed=list, best=dict, versions=dict, by=str,
            by_hand=list)


def collect(dirs: Iterable) -> List[Record]:
    """Read every ``run.json`` in and under some folders.

    Args:
        dirs (Iterable[str | Path]): Work dirs, or folders of them.

    Returns:
        list[dict]: Records ordered as :func:`key_of` says, with the file
        as ``source``; a run that lies there twice is one, the copy that got
        further.

    Raises:
        ConfigError: If a folder does not exist or holds no run, or a file
            is damaged.
    """
    records = []
    for folder in map(Path, dirs):
        if not folder.is_dir():
            raise ConfigError(f'{folder}: no such folder; expected a work '
                              'dir, or a folder of work dirs')
        found = sorted(folder.rglob(FILE))
        if not found:
            raise ConfigError(
                f'{folder}: no {FILE} in or under it, so no run to report; '
                'training with tools/train.py writes one into its work dir')
        records += [dict(read_record(p), source=str(p)) for p in found]
    return unique(records)


def read_record(path) -> Record:
    """Read one file.

    Args:
        path (str | Path): A ``run.json``.

    Returns:
        dict: What it tells, see :func:`check_record`.

    Raises:
        ConfigError: If it cannot be read or lacks something.
    """
    try:
        return check_record(read_json(path, f'a readable {FILE}'), str(path))
    except OSError as error:
        raise ConfigError(f'{path}: not a readable {FILE} ({error}); mend or '
                          'remove it') from None


def check_record(content: Any, source: str) -> Record:
    """Check a record and keep what is known and there.

    Args:
        content (Any): What JSON gave.
        source (str): What errors name.

    Returns:
        dict: Without nulls and metrics that are not finite.

    Raises:
        ConfigError: If a key is missing or has a wrong type.
    """
    _check(dict(content=content), 'content', dict, source)
    for key, kinds in _REQUIRED.items():
        _check(content, key, kinds, source)
    record = {k: content[k] for k in {**_REQUIRED, **_MAY}
              if content.get(k) is not None}
    for key in set(_MAY) & set(record):
        _check(record, key, _MAY[key], source)
    if record.get('tuner', {}).get('type') is not None:
        _check(record['tuner'], 'type', str, f'{source}, tuner')
    for key in {'started', 'ended'} & set(record):
        try:
            datetime.fromisoformat(record[key])
        except ValueError:
            raise _damaged(source, key, record[key],
                           'an ISO date and time') from None
    for key in {'last', 'best'} & set(record):
        there = {k: v for k, v in record[key].items() if v is not None}
        for name in there:
            _check(there, name, _NUMBER, f'{source}, {key}', finite=False)
        record[key] = {k: v for k, v in there.items() if math.isfinite(v)}
    return record


def _check(content: Mapping, key: str, kinds, source: str,
           finite: bool = True) -> None:
    value = content.get(key)
    kinds = kinds if isinstance(kinds, tuple) else (kinds, )
    wrong = not isinstance(value, kinds) or (
        isinstance(value, bool) and bool not in kinds)
    if wrong or finite and isinstance(value, float) and not (
            math.isfinite(value)):
        raise _damaged(source, key, value,
                       ' or '.join(kind.__name__ for kind in kinds))


def _damaged(source: str, key: str, value: Any,
             expected: str) -> ConfigError:
    return ConfigError(
        f'{source}: {key!r} is {value!r}, expected {expected}; this is not '
        f'a {FILE} as training writes it: mend or remove it')


def key_of(record: Record) -> Tuple[str, ...]:
    """What tells a run from every other: config, tuner, start and seed."""
    tuner = json.dumps(record.get('tuner', {}), sort_keys=True)
    return (record['config'], tuner, record['started'],
            str(record.get('seed')))


def unique(records: Iterable[Record]) -> List[Record]:
    """Keep one of each run, what got further or comes later, and order them.

    Args:
        records (Iterable[dict]): Of any runs.

    Returns:
        list[dict]: Ordered by their keys.
    """
    kept: Dict[Tuple, Record] = {}
    for record in sorted(records, key=lambda r: (r['finished'], r['done'])):
        kept[key_of(record)] = record
    return [kept[key] for key in sorted(kept)]


def deviations(record: Record) -> Tuple[str, ...]:
    """What the command line changed, seed and places left out.

    An annotation file may be another one, but its folder is nobody's.
    """
    found = []
    for change in map(str, record.get('changed', ())):
        name, sign, value = change.partition('=')
        if is_deviation(name.strip()):
            value = osp.basename(value) if osp.isabs(value) else value
            found.append(name + sign + value)
    return tuple(found)


def with_results(record: Record, results: Mapping[str, float]) -> Record:
    """Add metrics that were measured after training.

    Args:
        record (dict): Of a run.
        results (Mapping[str, float]): By the key that a log would have.

    Returns:
        dict: A copy, which says that they were added by hand.

    Raises:
        ConfigError: If a key is not known, or a value is out of its range.
    """
    scales = {metric.key: metric.scale for metric in METRICS}
    for key, value in results.items():
        if key not in scales:
            raise ConfigError(f'result {key!r}: expected one of '
                              f'{", ".join(scales)}')
        top = 100 / scales[key]
        if not 0 <= value <= top:
            raise ConfigError(f'result {key}={value:g}: expected 0 to '
                              f'{top:g}, as the mm libraries log it')
    return dict(record, last={**record['last'], **results},
                by_hand=sorted({*record.get('by_hand', ()), *results}))
