"""Which checkpoint a run goes on from."""
import logging
import os
import os.path as osp
from functools import lru_cache
from glob import escape, glob
from typing import Dict, List, Optional, Tuple

from mmengine.config import Config
from mmengine.logging import print_log

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.io import peek, trust
from mona_mm.errors import CheckpointError
from mona_mm.text import kind_of

#: (iteration, time of writing), in which the newest is the largest.
Age = Tuple[int, float]


def newest_checkpoint(cfg: Config) -> Optional[str]:
    """Find the newest checkpoint of a work dir that is complete.

    The one that ``last_checkpoint`` names, unless one was written after it
    that is further on; if it is gone or broken, the one written last. Files
    without an optimizer's state (best, published, delta) do not count.

    Args:
        cfg (Config): ``work_dir`` and the checkpoint hook's ``out_dir``.

    Returns:
        str, optional: Its path, or None if there is nothing to go on from.

    Raises:
        CheckpointError: If there are checkpoints, but none is usable.
    """
    pointed, told = _pointed(cfg.work_dir)
    good: Dict[str, Age] = {}
    bad: Dict[str, str] = {}
    bare = []  # without an optimizer
    for path in _candidates(cfg, pointed):
        try:
            if not osp.isfile(path):
                raise CheckpointError(
                    f'is no regular file but a {kind_of(path)}')
            content = peek(path)  # without its tensors
            if 'optimizer' in content:
                good[path] = check_resumable(content), osp.getmtime(path)
            else:
                bare.append(path)
        except CheckpointError as error:
            bad[path] = str(error).split('\n')[0]
    for path in _in_order(good, pointed):
        try:
            verify(path)
        except CheckpointError as error:
            bad[path] = str(error)
            continue
        _tell(told, bad, f'resuming from {path} (iteration {good[path][0]})')
        return path
    if bad or bare:
        lines = [f'{path}: {why}' for path, why in bad.items()]
        lines += [f'{path}: holds no optimizer state' for path in bare]
        raise CheckpointError(
            f'--resume: no checkpoint in {cfg.work_dir} can be resumed:\n- ' +
            '\n- '.join(lines) + '\nTo start again, move them away; to start '
            'from the weights of one, use --cfg-options load_from=PATH')
    _tell([*told, f'nothing to resume in {cfg.work_dir}'], bad,
          'training starts from the beginning')
    return None


def verify(path: str) -> None:
    """Read a checkpoint in full, once per process and version of the file.

    Raises:
        CheckpointError: If it is missing, damaged, or lacks what a run needs
            to go on from it.
    """
    if osp.isfile(path):
        status = os.stat(path)
        _read(path, status.st_mtime_ns, status.st_size)
    else:
        _read(path, 0, 0)


@lru_cache(maxsize=8)
def _read(path: str, time: int, size: int) -> None:
    content = read_checkpoint(path)
    try:
        check_resumable(content)
    except CheckpointError as error:
        raise CheckpointError(
            f'{path} cannot be resumed: {error}. To start a new run from its '
            'weights, use --cfg-options load_from=PATH without --resume'
        ) from error


def trust_run(cfg: Config) -> None:
    """Vouch for the checkpoints in a work dir.

    Args:
        cfg (Config): ``work_dir`` and the checkpoint hook's ``out_dir``.
    """
    for path in _candidates(cfg, _pointed(cfg.work_dir)[0]):
        trust(path)


def save_folders(cfg: Config) -> List[str]:
    """The local folders that a run writes checkpoints to.

    Args:
        cfg (Config): ``work_dir`` and the checkpoint hook's ``out_dir``.
    """
    folders = [cfg.work_dir]
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    out_dir = hook.get('out_dir')
    if out_dir and '://' not in str(out_dir):
        name = osp.basename(cfg.work_dir.rstrip(os.sep))
        folders.append(osp.join(out_dir, name))
    return folders


def _pointed(work_dir: str) -> Tuple[Optional[str], List[str]]:
    """The file that ``last_checkpoint`` means, and what to say about it."""
    pointer = osp.join(work_dir, 'last_checkpoint')
    if not osp.isfile(pointer):
        return None, []
    with open(pointer, errors='replace') as file:
        named = file.read(1 << 16).strip('\0 \n')
    # A folder that was moved, or copied, goes on with its own file.
    for path in (osp.join(work_dir, osp.basename(named)), named):
        if named and len(named) < 4096 and osp.isfile(path):
            return path, []
    return None, [f'{pointer} names {named!r}, which does not exist']


def _candidates(cfg: Config, pointed: Optional[str]) -> List[str]:
    found = [pointed] if pointed else []
    for folder in save_folders(cfg):
        found += glob(osp.join(escape(folder), '*.pth'))
    return list({osp.abspath(path): path for path in reversed(found)}.values())


def check_resumable(content: dict) -> int:
    """Check what resuming takes from a checkpoint, before anything is built.

    Returns:
        int: The iteration that it is at.

    Raises:
        CheckpointError: If a part is missing or of another type.
    """
    meta, hub = content.get('meta'), content.get('message_hub')
    if not isinstance(meta, dict) or not all(
            type(meta.get(key)) is int and meta[key] >= 0
            for key in ('epoch', 'iter')):
        raise CheckpointError('its meta does not say at which epoch and '
                              'iteration it is')
    if not isinstance(hub, dict) or not all(
            isinstance(hub.get(key), dict)
            for key in ('log_scalars', 'runtime_info', 'resumed_keys')):
        raise CheckpointError('its message_hub is missing or broken')
    return meta['iter']


def _in_order(good: Dict[str, Age], pointed: Optional[str]) -> List[str]:
    by_time = sorted(good, key=lambda p: good[p][::-1], reverse=True)
    if pointed not in good:
        return by_time
    own = good[pointed]
    ahead = [p for p in by_time
             if good[p][0] > own[0] and good[p][1] > own[1]]
    others = [p for p in by_time if p not in ahead and p != pointed]
    return [*ahead, pointed, *others]


def _tell(told: List[str], bad: Dict[str, str], result: str) -> None:
    if os.environ.get('RANK', '0') != '0':
        return
    told = [*told, *(f'skipped {path}: {why}' for path, why in bad.items())]
    print_log(
        '; '.join(['--resume', *told, result]).replace('; ', ': ', 1),
        logger='current',
        level=logging.WARNING if told else logging.INFO)
