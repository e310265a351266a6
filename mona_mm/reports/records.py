"""Reading `run.json`, and telling what is wrong with one."""
import math
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping

from mona_mm.errors import ConfigError
from mona_mm.ledger.runs import Run, unique
from mona_mm.text import read_json

FILE = 'run.json'
_NUMBER = (int, float)
#: What every record has, and what may be missing or null.
_REQUIRED = dict(config=str, started=str, done=_NUMBER, total=_NUMBER,
                 unit=str, finished=bool, last=dict)
_MAY = dict(seed=int, ended=str, device=str, world_size=int,
            memory_mib=_NUMBER, wall_seconds=_NUMBER, sessions=int,
            tuner=dict, trained=int, share=_NUMBER, changed=list, best=dict,
            versions=dict, by=str, by_hand=list)


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
        return parse_run(read_json(path, f'a readable {FILE}'), str(path))
    except OSError as error:
        raise ConfigError(f'{path}: not a readable {FILE} ({error}); mend or '
                          'remove it') from None


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
    _check(content.get('tuner') or {}, 'type', str, f'{source}, tuner',
           null=True)
    for key in ('started', 'ended'):
        _check_time(content.get(key), key, source)
    names = {f.name for f in fields(Run)} - {'source'}
    known = {k: v for k, v in content.items()
             if k in names and (v is not None or k in _REQUIRED)}
    for key in {'last', 'best'} & set(known):
        known[key] = _finite(known[key], key, source)
    return Run(**known, source=source)


def _check(content: dict, key: str, kinds, source: str,
           null: bool = False, finite: bool = True) -> None:
    value = content.get(key)
    if null and value is None:
        return
    wrong_bool = isinstance(value, bool) and kinds is not bool
    if wrong_bool or not isinstance(value, kinds):
        raise _damaged(source, repr(key), value, kinds)
    if finite and isinstance(value, float) and not math.isfinite(value):
        raise _damaged(source, repr(key), value, kinds)


def _check_time(value: Any, key: str, source: str) -> None:
    try:
        datetime.fromisoformat(value or '2026-01-01')
    except ValueError:
        raise ConfigError(
            f'{source}: {key!r} is {value!r}, expected an ISO date and time; '
            f'this is not a {FILE} as training writes it: mend or remove '
            'it') from None


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
        _check(dict(values), name, _NUMBER, f'{source}, {key}', null=True,
               finite=False)
    return {k: v for k, v in values.items()
            if v is not None and math.isfinite(v)}
