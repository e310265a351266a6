"""Finished runs of a study, as small files that are committed.

A kept run is the ``run.json`` of its work dir with its curves and the
fingerprint of what it was to do. Whoever goes on with the study, on whatever
machine, runs what is not kept yet.
"""
import argparse
import hashlib
import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, Optional

from mmengine.config import Config

from mona_mm.engine.launch import add_common_arguments, load_config
from mona_mm.engine.quiet import quiet
from mona_mm.errors import ConfigError
from mona_mm.reports.logs import read_log
from mona_mm.reports.records import FILE, check_record
from mona_mm.text import read_json, write_atomically

from .sweep import Job

#: What of a config decides what comes out of a run, next to its seed.
_DECIDES = ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator',
            'optim_wrapper', 'param_scheduler', 'train_cfg')
#: Settings that only say where something lies.
_PLACES = ('data_root', 'checkpoint')


def config_of(job: Job) -> Config:
    """A job's config, as its command line makes it."""
    parser = argparse.ArgumentParser()
    add_common_arguments(parser)
    with quiet():
        return load_config(parser.parse_args([
            job.config, *([f'--tuner={job.tuner}'] if job.tuner else []),
            *(['--cfg-options', *job.options] if job.options else [])]))


def settings(job: Job) -> Dict[str, Any]:
    """What a job is to do: the settings that decide its result.

    Args:
        job (Job): Any job of one process.

    Returns:
        dict: Those parts of its config, without the places of files, and
        the seed.
    """
    cfg = config_of(job)
    found = {part: _without_places(cfg.get(part)) for part in _DECIDES}
    return json.loads(json.dumps(dict(found, seed=job.seed), default=str))


def _without_places(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_places(v) for k, v in node.items()
                if k not in _PLACES}
    if isinstance(node, (list, tuple)):
        return [_without_places(v) for v in node]
    return node


def fingerprint(job: Job) -> str:
    """Sixteen letters that are the same where :func:`settings` are.

    The code is not part of it: a change there that changes results is to
    remove the kept runs.
    """
    return _fingerprint(replace(job, folder=Path()))


@lru_cache(maxsize=None)  # reading a config takes a quarter of a second
def _fingerprint(job: Job) -> str:
    text = json.dumps(settings(job), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def keep(job: Job, folder: Path, key: str) -> None:
    """Write a finished job's record, curves and fingerprint.

    Args:
        job (Job): Finished.
        folder (Path): Where its ``run.json`` goes.
        key (str): The metric whose curve is kept; losses are too.
    """
    log = read_log(job.folder)
    curves = {'loss': log.curve('loss', 'iter'),
              key: log.curve(key, 'epoch')}
    content = dict(job.record(), fingerprint=fingerprint(job), curves={
        name: [[float(f'{x:.6g}'), float(f'{y:.4g}')]
               for x, y in curve.items()] for name, curve in curves.items()})
    with write_atomically(folder / FILE) as path:
        Path(path).write_text(_compact(content))


def _compact(content: Dict[str, Any]) -> str:
    """JSON with a line for every key."""
    return '{\n' + ',\n'.join(
        f' {json.dumps(k)}: {json.dumps(v)}' for k, v in content.items()
    ) + '\n}\n'


def find(folder: Path, expected: Optional[str] = None
         ) -> Optional[Dict[str, Any]]:
    """Read a kept run.

    Args:
        folder (Path): Where its ``run.json`` would be.
        expected (str, optional): The fingerprint that it should have.

    Returns:
        dict | None: The record with ``fingerprint`` and ``curves``; None if
        there is none, or one of other settings.

    Raises:
        ConfigError: If the file is damaged.
    """
    path = folder / FILE
    try:
        content = read_json(path, f'a readable {FILE}')
    except FileNotFoundError:
        return None
    record = check_record(content, str(path))
    for name, kind in (('fingerprint', str), ('curves', dict)):
        if not isinstance(content.get(name), kind):
            raise ConfigError(f'{path}: it has no {name!r}, so no study kept '
                              'it; remove it to run it again')
    if expected not in (None, content['fingerprint']):
        return None
    return dict(record, fingerprint=content['fingerprint'],
                curves=content['curves'], source=str(path))
