"""The whole road in minutes on a CPU: data, base, tuning, test, pictures.

Every step runs the tools that a user would type, is skipped once done, and
goes on where it was interrupted.
"""
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Sequence

from mmengine.config import Config

from mona_mm.errors import ConfigError
from mona_mm.reports.figure import Line, Panel, draw
from mona_mm.reports.logs import read_log
from mona_mm.reports.names import display_name
from mona_mm.reports.records import read_record
from mona_mm.reports.tables import markdown
from mona_mm.text import write_atomically

from .figures import draw_detections
from .shapes import make_shapes
from .sweep import fitting, of_task

OUT = Path('work_dirs/quickstart')
CONFIGS = Path('configs/quickstart')
PRETRAIN = 'pretrain_swin-nano_source'
#: What the methods are compared on.
TASK = str(CONFIGS / 'retinanet_swin-nano_shapes.py')


def run(methods: Sequence[str]) -> List[dict]:
    """Do everything that is not done yet and report it.

    Args:
        methods (Sequence[str]): Which methods to tune with, in lower case.

    Returns:
        list[dict]: One row of results per method.
    """

    def say(step: int, text: str) -> None:
        print(f'\n=== [{step}/{2 + len(methods)}] {text}', flush=True)

    say(1, 'pictures: five data formats and a source task (half a minute)')
    make_shapes('data/shapes', progress=sys.stderr.isatty())
    say(2, 'base: a small backbone learns the source task (4 minutes)')
    pretrain(OUT / 'base.pth', OUT / PRETRAIN)
    rows = []
    for i, method in enumerate(methods, 3):
        say(i, f'{method}: RetinaNet on the frozen base, trained and tested '
            '(3 minutes)')
        rows.append(_tune(method))
    _report(rows)
    return rows


def run_tool(name: str, *args: str) -> None:
    """Run one of ``tools/`` as a user would.

    Args:
        name (str): Without ``.py``.
        *args (str): Its arguments.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    env = dict(os.environ, PYTHONWARNINGS='ignore')
    # Threads that wait by spinning starve each other on shared cores; not
    # spinning at all takes twice as long on free ones.
    env.setdefault('GOMP_SPINCOUNT', '10000')
    command = [sys.executable, f'tools/{name}.py', *args]
    subprocess.run(command, check=True, env=env)


def pretrain(base: Path, folder: Path, *options: str) -> None:
    """Teach a small backbone the source task and keep its backbone.

    Args:
        base (Path): Where the backbone goes; nothing is done if it is there.
        folder (Path): Work dir of the training.
        *options (str): For ``--cfg-options``.
    """
    import torch

    from mona_mm.checkpoint import base_state, read_checkpoint, unwrap
    if base.is_file():
        print(f'{base} is there')
        return
    run_tool('train', str(CONFIGS / f'{PRETRAIN}.py'), '--work-dir',
             str(folder), '--resume',
             *(['--cfg-options', *options] if options else []))
    state = base_state(unwrap(read_checkpoint(_last_checkpoint(folder))))
    with write_atomically(base) as path:
        torch.save(dict(state_dict=state.tensors), path)


def _tune(method: str) -> dict:
    """Train and test; where both are done, read what they found."""
    folder = OUT / method
    done = folder / 'result.json'
    if done.is_file():
        print(f'{done} is there')
        return json.loads(done.read_text())
    config, tuner = of_task(TASK, method)
    words = [f'--tuner={tuner}'] if tuner else []
    start = time.time()
    run_tool('train', config, *words, '--work-dir', str(folder), '--resume')
    minutes = (time.time() - start) / 60
    run_tool('test', config, _last_checkpoint(folder), *words, '--work-dir',
             str(folder / 'test'), '--out', str(folder / 'predictions.pkl'))
    metrics = max(folder.glob('test/*/*.json')).read_text()
    record = read_record(folder / 'run.json')
    row = dict(
        method=method,
        metric=json.loads(metrics)['pascal_voc/mAP'],
        minutes=minutes,
        trained=record['trained'],
        share=record['share'])
    with write_atomically(done) as path:
        Path(path).write_text(json.dumps(row, indent=1))
    return row


def _last_checkpoint(folder: Path) -> str:
    return (folder / 'last_checkpoint').read_text().strip()


def seconds_per_step(folder: Path) -> float:
    """The fastest stretch of the log: other work only ever slows a step."""
    return min(r['time'] for r in read_log(folder).train)


def _report(rows: List[dict]) -> None:
    methods = [row['method'] for row in rows]
    table = markdown(
        ('method', 'mAP@.5', 'trained in the backbone', 'share',
         's/iteration'), [
             (row['method'], f'{100 * row["metric"]:.1f}',
              f'{row["trained"]:,}', f'{row["share"]:.2%}',
              f'{seconds_per_step(OUT / row["method"]):.3f}')
             for row in rows], padded=True) + '\n'
    with write_atomically(OUT / 'results.md') as path:
        Path(path).write_text(table)
    print(f'\nShapes, RetinaNet, one frozen backbone:\n\n{table}')
    curves = {display_name(m): Line(100 * read_log(OUT / m).curve(
        'pascal_voc/mAP')) for m in methods}
    draw([Panel(curves, 'epochs', 'mAP@.5 (%)')], OUT / 'curves',
         formats=('png', ), ylim=(0, None))
    predictions = {}
    for method in methods:  # files that we wrote ourselves, a step ago
        with open(OUT / method / 'predictions.pkl', 'rb') as file:
            predictions[method] = {
                Path(found['img_path']).stem: found['pred_instances']
                for found in pickle.load(file)}
    draw_detections(predictions, Config.fromfile(TASK),
                    OUT / 'predictions.png')
    print(f'table        {OUT}/results.md\n'
          f'predictions  {OUT}/predictions.png\n'
          f'curves       {OUT}/curves.png')


def choose(methods: Sequence[str]) -> List[str]:
    """Check method names; ``['all']`` is every method.

    Args:
        methods (Sequence[str]): Names of fragments in
            ``configs/_base_/tuners`` that fit the backbone.

    Returns:
        list[str]: The names.

    Raises:
        ConfigError: If there is no such method.
    """
    known = fitting(TASK)
    if list(methods) == ['all']:
        return known
    unknown = [m for m in methods if m not in known]
    if unknown:
        raise ConfigError(f'no method {", ".join(unknown)}; expected of '
                          f'{", ".join(known)}, or all')
    return list(methods)
