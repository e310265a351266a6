"""The whole road in minutes on a CPU: data, tuning, test, pictures.

Every step runs the tools that a user would type, is skipped once done, and
goes on where it was interrupted. All of it is seeded and computes with one
thread per run, so that it finds the same again: with more threads, sums would
be in another order on a machine with other cores.
"""
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from mmengine.config import Config

from mona_mm.errors import ConfigError
from mona_mm.reports.bootstrap import ERRORS, Gap, compare, match
from mona_mm.reports.figure import Line, Panel, draw
from mona_mm.reports.logs import read_log
from mona_mm.reports.names import display_name
from mona_mm.reports.records import read_record
from mona_mm.reports.tables import markdown
from mona_mm.text import write_atomically

from .figures import draw_detections, ground_truth
from .shapes import make_shapes
from .sweep import (
    BACKBONE_RATE,
    Job,
    Outcome,
    exit_status,
    fitting,
    of_task,
    run_locally,
    show,
)

OUT = Path('work_dirs/quickstart')
CONFIGS = Path('configs/quickstart')
#: What the methods are compared on.
TASK = str(CONFIGS / 'retinanet_swin-nano_shapes.py')
METHODS = ('mona', 'fixed', 'full')
#: Learning rate of what trains in the backbone over that of neck and head,
#: where it is not 1: chosen on other pictures, see docs/get_started.md.
RATES = dict(mona=3)
SEED = 0
#: Processes at a time, a thread each.
AT_ONCE = 2
#: Of the test pictures, for the errors of differences.
DRAWS = 500
#: Curves are of so many of the test pictures; the table is of all.
_WATCHED = 100


def run(methods: Sequence[str]) -> int:
    """Do everything that is not done yet and report it.

    Args:
        methods (Sequence[str]): Which methods to tune with, in lower case.

    Returns:
        int: The exit status: 0, or not all trainings came to their end.
    """

    def say(step: int, text: str) -> None:
        print(f'\n=== [{step}/3] {text}', flush=True)

    say(1, 'pictures: five data formats (half a minute)')
    claim(OUT, pictures())
    say(2, f'training: RetinaNet on a frozen base, with {", ".join(methods)}; '
        f'{AT_ONCE} at a time, tested as they end (logs: {OUT}/*/sweep.log)')
    jobs = {method: _job(method) for method in methods}
    tests: Dict[Job, Future] = {}
    with one_thread(), ThreadPoolExecutor(1) as pool:

        def test(outcome: Outcome) -> None:
            if outcome.state in ('finished', 'skipped'):
                tests[outcome.job] = pool.submit(_test, outcome.job)

        outcomes = run_locally(list(jobs.values()), AT_ONCE, test)
        status = exit_status(outcomes)
        if status:
            show(outcomes)
            return status
        say(3, 'table and pictures')
        rows = [dict(tests[job].result(), method=method)
                for method, job in jobs.items()]
    _report(rows)
    return status


def pictures() -> str:
    """Make the generated pictures, if they are not there.

    Returns:
        str: Their SHA-256.

    Raises:
        ConfigError: If ``data/shapes`` holds others.
    """
    try:
        return make_shapes('data/shapes', progress=sys.stderr.isatty(),
                           processes=AT_ONCE)['sha256']
    except FileExistsError as error:
        raise ConfigError(
            f'{error} (make clean-quickstart removes it, and the results on '
            'it)') from None


def claim(folder: Path, sha256: str) -> None:
    """Note in a folder what its results are made of.

    Args:
        folder (Path): Of all runs.
        sha256 (str): Of the pictures.

    Raises:
        ConfigError: If it holds results on other pictures, or from another
            base.
    """
    path = folder / 'made_of.json'
    made_of = dict(base=base_of(TASK), pictures=sha256)
    if path.is_file():
        found = json.loads(path.read_text())
    else:
        found = None if folder.is_dir() and any(folder.iterdir()) else made_of
    if found != made_of:
        raise ConfigError(
            f'{folder} holds results of {found or "an earlier version"}, '
            f'which do not compare with those of {made_of}: move it away or '
            'remove it')
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as part:
        Path(part).write_text(json.dumps(made_of, indent=1))


def base_of(config: str) -> str:
    """The checkpoint that a config starts from."""
    return Config.fromfile(config).model.backbone.init_cfg.checkpoint


class one_thread:
    """While it lasts, what is started computes with one thread."""

    def __enter__(self) -> None:
        self._old = os.environ.get('OMP_NUM_THREADS')
        os.environ['OMP_NUM_THREADS'] = '1'

    def __exit__(self, *_) -> None:
        if self._old is None:
            del os.environ['OMP_NUM_THREADS']
        else:
            os.environ['OMP_NUM_THREADS'] = self._old


def _job(method: str) -> Job:
    config, tuner = of_task(TASK, method)
    options = [f'val_dataloader.dataset.indices={_WATCHED}']
    if method in RATES:
        options.append(f'{BACKBONE_RATE}{RATES[method]:g}')
    return Job(config, SEED, OUT / method, tuner, tuple(options))


def _test(job: Job) -> dict:
    """Test what was trained; where that is done, read what was found."""
    done = job.folder / 'result.json'
    if done.is_file():
        return json.loads(done.read_text())
    checkpoint = (job.folder / 'last_checkpoint').read_text().strip()
    command = [sys.executable, 'tools/test.py', job.config, checkpoint,
               '--work-dir', str(job.folder / 'test'),
               '--out', str(job.folder / 'predictions.pkl')]
    if job.tuner:
        command.append(f'--tuner={job.tuner}')
    with open(job.folder / 'test.log', 'w') as log:
        status = subprocess.run(
            command, stdout=log, stderr=log,
            env=dict(os.environ, PYTHONWARNINGS='ignore')).returncode
    if status:
        raise ConfigError(f'{" ".join(command)} failed with status {status}; '
                          f'its last words are in {log.name}')
    metrics = max(job.folder.glob('test/*/*.json')).read_text()
    record = read_record(job.folder / 'run.json')
    row = dict(
        metric=json.loads(metrics)['pascal_voc/mAP'],
        trained=record['trained'],
        share=record['share'])
    with write_atomically(done) as path:
        Path(path).write_text(json.dumps(row, indent=1))
    return row


def seconds_per_step(folder: Path) -> float:
    """The fastest stretch of the log: other work only ever slows a step."""
    return min(r['time'] for r in read_log(folder).train)


def differences(gaps: Dict[str, Dict[str, Gap]]) -> str:
    """Every method against every other: a table, and how to read it.

    Args:
        gaps (dict): Of :func:`mona_mm.reports.bootstrap.compare`.
    """
    pairs: List[Tuple[str, str]] = list(combinations(gaps, 2))
    table = markdown(
        ('difference in mAP@.5', 'points', 'standard error',
         f'beyond {ERRORS:g} errors'), [
             (f'{a} - {b}', f'{100 * gaps[a][b].difference:+.1f}',
              f'{100 * gaps[a][b].error:.1f}',
              'yes' if gaps[a][b].clear else 'no') for a, b in pairs],
        padded=True)
    clear = [f'{a} {"above" if gaps[a][b].difference > 0 else "below"} {b}'
             for a, b in pairs if gaps[a][b].clear]
    return (f'{table}\n\nBeyond {ERRORS:g} standard errors: '
            f'{", ".join(clear) or "none"}. The errors say what other test '
            'pictures would change; each method was trained once, with the '
            'same seed, and another seed would change the numbers too.\n')


def _report(rows: List[dict]) -> None:
    methods = [row['method'] for row in rows]
    cfg = Config.fromfile(TASK)
    truths = ground_truth(cfg)
    predictions = {}
    for method in methods:  # files that we wrote ourselves, a step ago
        with open(OUT / method / 'predictions.pkl', 'rb') as file:
            predictions[method] = {
                Path(found['img_path']).stem: found['pred_instances']
                for found in pickle.load(file)}
    classes = len(cfg.metainfo['classes'])
    matches = {
        method: match([found[truth['name']] for truth in truths], truths,
                      classes) for method, found in predictions.items()}
    table = markdown(
        ('method', 'mAP@.5', 'rate', 'trained in the backbone', 'share',
         's/iteration'), [
             (row['method'], f'{100 * row["metric"]:.1f}',
              f'{RATES.get(row["method"], 1):g}' if row['trained'] else '-',
              f'{row["trained"]:,}', f'{row["share"]:.2%}',
              f'{seconds_per_step(OUT / row["method"]):.3f}')
             for row in rows], padded=True) + '\n'
    if len(methods) > 1:
        table += '\n' + differences(compare(matches, DRAWS, SEED))
    with write_atomically(OUT / 'results.md') as path:
        Path(path).write_text(table)
    print(f'\nShapes, RetinaNet, {len(truths)} test pictures; rate: learning '
          f'rate in the backbone over that of the head:\n\n{table}')
    curves = {display_name(m): Line(100 * read_log(OUT / m).curve(
        'pascal_voc/mAP')) for m in methods}
    draw([Panel(curves, 'epochs', f'mAP@.5 (%), {_WATCHED} pictures')],
         OUT / 'curves', formats=('png', ), ylim=(0, None))
    draw_detections(predictions, truths, cfg.metainfo['classes'],
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
