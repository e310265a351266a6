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
from typing import Dict, List, Optional, Sequence

from mmengine.config import Config

from mona_mm.backbones.counting import count_backbone
from mona_mm.reports.figure import Line, Panel, draw
from mona_mm.reports.logs import read_log
from mona_mm.reports.names import display_name, parse
from mona_mm.reports.tables import markdown
from mona_mm.research.figures import draw_detections
from mona_mm.research.shapes import make_shapes
from mona_mm.text import write_atomically

OUT = Path('work_dirs/quickstart')
CONFIGS = Path('configs/quickstart')
PRETRAIN = 'pretrain_swin-nano_source'
_TASK = 'retinanet_swin-nano_shapes'


def config_of(method: str) -> str:
    """The quickstart's detection config of a method, as a path."""
    return str(CONFIGS / f'{parse(_TASK).stem(method)}.py')


def run(methods: Sequence[str]) -> List[dict]:
    """Do everything that is not done yet and report it.

    Args:
        methods (Sequence[str]): Which methods to tune with, in lower case.

    Returns:
        list[dict]: One row of results per method.
    """
    total = 2 + len(methods)
    _say(1, total, 'pictures: five data formats and a source task '
         '(half a minute)')
    make_shapes('data/shapes', progress=sys.stderr.isatty())
    _say(2, total, 'base: a small backbone learns the source task (4 minutes)')
    pretrain(OUT / 'base.pth', OUT / PRETRAIN)
    rows = []
    for i, method in enumerate(methods, 3):
        _say(i, total, f'{method}: RetinaNet on the frozen base, trained and '
             'tested (3 minutes)')
        rows.append(_tune(method))
    _report(rows)
    return rows


def _say(step: int, total: int, text: str) -> None:
    print(f'\n=== [{step}/{total}] {text}', flush=True)


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
    folder = OUT / method
    done = folder / 'result.json'
    if done.is_file():
        print(f'{done} is there')
        return json.loads(done.read_text())
    config, start = config_of(method), time.time()
    run_tool('train', config, '--work-dir', str(folder), '--resume')
    minutes = (time.time() - start) / 60
    test = folder / 'test'
    run_tool('test', config, _last_checkpoint(folder), '--work-dir',
             str(test), '--out', str(folder / 'predictions.pkl'))
    row = dict(
        method=method,
        metric=_newest(test, '*/*.json')['pascal_voc/mAP'],
        minutes=minutes,
        **_trained(config))
    with write_atomically(done) as path:
        Path(path).write_text(json.dumps(row, indent=1))
    return row


def _last_checkpoint(folder: Path) -> str:
    return (folder / 'last_checkpoint').read_text().strip()


def _newest(folder: Path, pattern: str) -> dict:
    return json.loads(max(folder.glob(pattern)).read_text())


def _seconds_per_step(method: str) -> float:
    """The fastest stretch of the log: other work only ever slows a step."""
    return min(r['time'] for r in read_log(OUT / method).train)


def _trained(config: str) -> Dict[str, float]:
    counts = count_backbone(Config.fromfile(config))
    return {key: counts[key] for key in ('trained', 'share')}


def _report(rows: List[dict]) -> None:
    table = markdown(_HEAD, list(map(_columns, rows))) + '\n'
    with write_atomically(OUT / 'results.md') as path:
        Path(path).write_text(table)
    _show(rows)
    methods = [row['method'] for row in rows]
    curves = {display_name(m): Line(100 * read_log(OUT / m).curve(
        'pascal_voc/mAP')) for m in methods}
    draw([Panel(curves, 'epochs', 'mAP@.5 (%)')], OUT / 'curves',
         formats=('png', ), ylim=(0, None))
    draw_detections(
        {m: _predictions(OUT / m / 'predictions.pkl') for m in methods},
        Config.fromfile(config_of(methods[0])), OUT / 'predictions.png')
    print(f'\ntable        {OUT}/results.md\n'
          f'predictions  {OUT}/predictions.png\n'
          f'curves       {OUT}/curves.png')


def _columns(row: dict) -> List[str]:
    seconds = _seconds_per_step(row['method'])
    return [
        row['method'], f'{100 * row["metric"]:.1f}', f'{row["trained"]:,}',
        f'{row["share"]:.2%}', f'{seconds:.3f}'
    ]


_HEAD = ('method', 'mAP@.5', 'trained in the backbone', 'share',
         's/iteration')


def _show(rows: List[dict]) -> None:
    from rich.console import Console
    from rich.table import Table
    table = Table(title='Shapes, RetinaNet, one frozen backbone')
    for name in _HEAD:
        table.add_column(name, justify='left' if name == 'method' else
                         'right')
    for row in rows:
        table.add_row(*_columns(row))
    Console().print(table)


def _predictions(path: Path) -> Dict[str, dict]:
    """Predictions of one method, by the picture's file name."""
    with open(path, 'rb') as file:  # written by ourselves, a step ago
        results = pickle.load(file)
    return {Path(r['img_path']).stem: r['pred_instances'] for r in results}


def choose(methods: Optional[Sequence[str]]) -> List[str]:
    """Check method names; ``['all']`` is every one with a config.

    Raises:
        ConfigError: If a method has no quickstart config.
    """
    from mona_mm.errors import ConfigError
    known = [parse(path.stem).word
             for path in sorted(CONFIGS.glob('retinanet_*.py'))]
    if methods == ['all']:
        return known
    unknown = [m for m in methods if m not in known]
    if unknown:
        raise ConfigError(f'no quickstart for {", ".join(unknown)}; expected '
                          f'of {", ".join(known)}, or all')
    return list(methods)
