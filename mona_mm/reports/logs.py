"""What a work dir logged, resumed runs in one piece."""
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Dict, List, Optional, Union

import pandas as pd

from mona_mm.errors import ConfigError
from mona_mm.text import parse_json, some

#: Keys that say when a line was logged.
_WHEN = ('iter', 'epoch', 'step')


@dataclass(frozen=True, eq=False)
class Log:
    """The values that a training run logged, in order.

    Attributes:
        folder (str): Where they were read.
        train (list[dict]): One per logged training iteration, with ``iter``.
        val (list[dict]): One per validation; ``iter`` says after how many
            iterations it was.
        epoch_length (int | None): Iterations of an epoch.
        by_epoch (bool): Whether validations are counted in epochs.
    """

    folder: str
    train: List[dict]
    val: List[dict]
    epoch_length: Optional[int]
    by_epoch: bool

    @property
    def keys(self) -> List[str]:
        """All keys that have a curve, those of training first."""
        found = dict.fromkeys(
            key for record in self.train + self.val
            for key, value in record.items()
            if key not in _WHEN and _is_number(value))
        return list(found)

    def is_trained(self, key: str) -> bool:
        """Whether a key is logged in training, not only in validation."""
        return any(_is_number(r.get(key)) for r in self.train)

    def axis_of(self, key: str) -> str:
        """What a key is logged against: ``'iter'`` or ``'epoch'``."""
        by_epoch = self.by_epoch and not self.is_trained(key)
        return 'epoch' if by_epoch else 'iter'

    def curve(self, key: str, x: Optional[str] = None) -> pd.Series:
        """The values of a key.

        Args:
            key (str): A loss, a metric, or anything else that was logged;
                what training and validation share (``time``) is training's.
            x (str | None): ``'iter'`` or ``'epoch'``; None: as
                :meth:`axis_of` says. Training values lie within epochs.

        Returns:
            Series: Values by x; of several at one x the last.

        Raises:
            ConfigError: If the key was not logged, or epochs are unknown.
        """
        records = self.train if self.is_trained(key) else self.val
        found = [r for r in records if _is_number(r.get(key))]
        if not found:
            raise ConfigError(f'{key!r} is not in the log of {self.folder}; '
                              f'expected of {some(self.keys, 40)}')
        x = x or self.axis_of(key)
        if x == 'epoch' and not self.epoch_length:
            raise ConfigError(f'{self.folder} counts iterations only: its '
                              'curves have no epochs, take --x iter')
        unit = self.epoch_length if x == 'epoch' else 1
        return pd.Series({r['iter'] / unit: r[key] for r in found},
                         dtype=float)


def read_log(folder: Union[str, Path]) -> Log:
    """Read ``<folder>/<timestamp>/vis_data/scalars.json`` of all sessions.

    Where the steps of a resumed run overlap, the later session counts from
    its first logged iteration on. A last line that is cut off is ignored.

    Args:
        folder (str | Path): A work dir, or one session's folder in it.

    Returns:
        Log: Its values.

    Raises:
        ConfigError: If there is no log, or nothing in it, or it is damaged.
    """
    folder, name = Path(folder), 'vis_data/scalars.json'
    sessions = [path for path in [folder / name] if path.exists()]
    sessions = sessions or sorted(folder.glob(f'*/{name}'))
    if not sessions:
        below = sorted({str(p.parents[2]) for p in folder.glob(f'*/*/{name}')})
        hint = f'; it holds work dirs: {some(below)}' if below else ''
        missing = '' if folder.is_dir() else ' (there is no such folder)'
        raise ConfigError(f'no training log in {folder}{missing}: expected a '
                          f'work dir with <timestamp>/{name}{hint}')
    records: List[dict] = []
    for path in sessions:
        records = _continue(records, _read(path))
    if not records:
        raise ConfigError(f'nothing is logged yet in {folder}: its '
                          'scalars.json is empty; train for longer than '
                          "the logger's interval first")
    return _placed(str(folder), records)


def _read(path: Path) -> List[dict]:
    if not path.is_file():  # a pipe would block for ever
        raise ConfigError(f'{path}: not a regular file; remove it')
    try:
        lines = path.read_text(errors='replace').splitlines()
    except OSError as error:
        raise ConfigError(f'{path} cannot be read: {error}') from None
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = parse_json(line)
            if not isinstance(record, dict):
                raise ValueError('not an object')
            record.setdefault('step', 0)
            for key in set(_WHEN) & set(record):
                if type(record[key]) is not int or record[key] < 0:
                    raise ValueError(f'{key} is {record[key]!r}, not a count')
            records.append(record)
        except ValueError as error:
            if number < len(lines):  # the last one may have been cut off
                raise ConfigError(
                    f'{path}, line {number}: expected a JSON object per '
                    f'line, as mmengine writes, but got {line[:40]!r} '
                    f'({error})') from None
    return records


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _continue(before: List[dict], session: List[dict]) -> List[dict]:
    """Let a later session take over where it begins."""
    begin = next((r['iter'] for r in session if 'iter' in r), None)
    if begin is None:
        # A validation outside training does not know when it is.
        timeless = before and not any(r['step'] for r in session)
        return before if timeless else before + session
    end = next((i for i, r in enumerate(before)
                if r.get('iter', -1) >= begin), len(before))
    return before[:end] + session


def _placed(folder: str, records: List[dict]) -> Log:
    """Say for every validation when it was."""
    train = [r for r in records if 'iter' in r]
    # Iteration i is in epoch ceil(i / length), and an epoch's last iteration
    # is seldom logged: many epochs give the length exactly, few almost.
    by_epochs = train and all(r.get('epoch') for r in train)
    length = max(ceil(r['iter'] / r['epoch'])
                 for r in train) if by_epochs else None
    val: Dict[int, dict] = {}
    by_epoch, last = False, dict(iter=0, epoch=0)
    for record in records:
        if 'iter' in record:
            last = record
            continue
        step = record['step']
        # A step is an epoch or an iteration: the line before it tells.
        if length and step and (
                step == last.get('epoch') or step < last['iter']):
            by_epoch, step = True, step * length
        # The logger writes 0 if it counts epochs where there are none.
        at = step or last['iter']
        val[at] = dict(record, iter=at)
    return Log(folder, train, [val[at] for at in sorted(val)], length,
               by_epoch)
