"""The base of the quickstarts: from a training's work dir into the package."""
import json
import os
import re
from pathlib import Path
from typing import Optional, Sequence

from mmengine.config import Config

from mona_mm.errors import ConfigError
from mona_mm.reports.logs import read_log
from mona_mm.text import read_json, write_atomically

#: Where bases are that come with the package.
BASES = Path(__file__).parents[1] / 'bases'
#: Of the file: it is in every checkout and every wheel.
MAX_BYTES = 4_000_000


def ship(work_dir: str, name: str, pictures: Sequence[str],
         folder: Path = BASES, checkpoint: Optional[str] = None) -> Path:
    """Write the backbone of a pre-training in half precision, and a record.

    Args:
        work_dir (str): Of the training.
        name (str): The file's, without the hash that is put behind it.
        pictures (Sequence[str]): The folders of generated pictures that it
            was trained on.
        folder (Path): Where the file goes.
        checkpoint (str, optional): Another one than the last.

    Returns:
        Path: ``<name>-<hash>.pth``; ``<name>.json`` beside it says what made
        it and how well it does there.

    Raises:
        ConfigError: If the work dir has no checkpoint, or the file is too
            large to come with the package.
    """
    import torch

    from mona_mm.checkpoint import base_state, read_checkpoint, unwrap
    from mona_mm.checkpoint.publish import publish
    work = Path(work_dir)
    last = work / 'last_checkpoint'
    if checkpoint is None and not last.is_file():
        raise ConfigError(f'{work}: no last_checkpoint in it; expected the '
                          'work dir of a training')
    source = checkpoint or last.read_text().strip()
    content = read_checkpoint(source)
    state = {k: v.half() if v.is_floating_point() else v
             for k, v in base_state(unwrap(content)).tensors.items()
             if not re.match(r'norm\d', k)}  # of the task's maps
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f'{name}.part.pth'
    torch.save(dict(state_dict=state), part)
    try:
        path = Path(publish(str(part), str(folder / f'{name}.pth')))
    finally:
        part.unlink()
    size = path.stat().st_size
    if size > MAX_BYTES:
        path.unlink()
        raise ConfigError(f'{source}: {size:,} bytes in half precision, '
                          f'expected {MAX_BYTES:,} at most')
    run = read_json(work / 'run.json', 'a run record')
    metas = [read_json(Path(p) / 'meta.json', 'a record of pictures')
             for p in pictures]
    done = content['meta']['iter']
    record = dict(
        file=path.name,
        bytes=size,
        parameters=sum(v.numel() for v in state.values()
                       if v.is_floating_point()),
        command=f'python tools/train.py {run["config"]}',
        started_from=_start(work / Path(run['config']).name, folder),
        changed=run['changed'],
        seed=run['seed'],
        iterations=done,
        planned=f'{run["total"]} {run["unit"]}s',
        validations=[
            {k: v for k, v in line.items() if 'time' not in k and k != 'step'}
            for line in read_log(work).val if line['iter'] <= done],
        wall_seconds_of_the_run=run['wall_seconds'],
        sessions=run['sessions'],
        device=run['device'],
        ended=run['ended'],
        versions=run['versions'],
        pictures=[{k: meta[k] for k in (
            'generator', 'version', 'arguments', 'sha256')}
            for meta in metas])
    with write_atomically(folder / f'{name}.json') as partial:
        Path(partial).write_text(json.dumps(record, indent=1) + '\n')
    for other in folder.glob(f'{name}-*.pth'):
        if other != path:
            os.remove(other)
    return path


def _start(config: Path, folder: Path):
    """The record of the base that a training went on from, or its name."""
    start = Config.fromfile(config).model.backbone.get('init_cfg') or {}
    name = os.path.basename(start.get('checkpoint', ''))
    records = [read_json(p, 'a record') for p in folder.glob('*.json')]
    return next((r for r in records if r['file'] == name), name or None)
