"""The paper's comparison in miniature, on generated pictures and a CPU.

Four methods on four tasks, or ten of them and five variants of Mona, from one
small frozen backbone, with several seeds: the paper's tables 1 to 4 and its
structure ablation with everything shrunk. It cannot confirm or refute the
paper; it shows that all of it runs, what it costs, and how far the methods
are apart at this scale.
"""
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from mona_mm.errors import ConfigError
from mona_mm.reports.cells import load_cells
from mona_mm.reports.curves import panel_of
from mona_mm.reports.differences import differences_table
from mona_mm.reports.figure import draw
from mona_mm.reports.frame import run_frame
from mona_mm.reports.logs import Log, read_log
from mona_mm.reports.names import PAPER, display_name
from mona_mm.reports.orderings import Results, orderings, results_of
from mona_mm.reports.records import collect
from mona_mm.reports.results import render
from mona_mm.text import write_atomically

from .quickstart import CONFIGS, claim, one_thread, pictures
from .sweep import Job, Outcome, expand, run_locally

OUT = Path('work_dirs/mini_study')
#: Files in ``configs/quickstart/tuners``.
VARIANTS = ('mona-b8', 'mona-b32', 'mona-k7', 'mona-k333', 'mona-noscale')
#: What the paper's claims are most about.
FEW = ('full', 'fixed', 'adapter', 'mona')
#: Compared seed by seed.
PAIRS = (('mona', 'full'), ('mona', 'fixed'), ('mona', 'adapter'),
         ('full', 'fixed'))


class Task(NamedTuple):
    """One task of the study.

    Attributes:
        name (str): The head of its config's name.
        title (str): What it is.
        epochs (int): In the short form.
        every (int): Epochs between validations, in the short form.
        metric (str): What it is measured by, by the paper's name.
        key (str): And as it is logged.
    """
    name: str
    title: str
    epochs: int
    every: int
    metric: str
    key: str

    @property
    def config(self) -> str:
        """The name of its config."""
        return f'{self.name}_shapes'


class Form(NamedTuple):
    """How much of the study is run.

    Attributes:
        methods (tuple[str]): With variants.
        seeds (tuple[int]): Each run is repeated with these.
        times (int): Epochs are multiplied by this.
    """
    methods: Tuple[str, ...]
    seeds: Tuple[int, ...]
    times: int


TASKS = (
    Task('retinanet_swin-nano', 'detection', 4, 2, 'AP50',
         'pascal_voc/mAP'),
    Task('upernet_swin-nano', 'segmentation', 5, 5, 'mIoU', 'mIoU'),
    # mmrotate's evaluation starts processes of its own: once is enough.
    Task('oriented-rcnn_swin-nano', 'oriented detection', 3, 3, 'AP50',
         'dota/mAP'),
    Task('swin-nano', 'classification', 12, 4, 'Top 1 Accuracy',
         'accuracy/top1'),
)
FORMS = dict(short=Form(FEW, (1, 2, 3), 1),
             full=Form((*PAPER, *VARIANTS), (1, 2, 3, 4, 5), 3))


def run(form: str, at_once: Optional[int] = None) -> List[Outcome]:
    """Make the pictures, then run what is not finished.

    Args:
        form (str): A key of :data:`FORMS`.
        at_once (int, optional): How many runs at a time; one by default.
    """
    claim(OUT, pictures())
    with one_thread():
        return run_locally(jobs(form), at_once)


def jobs(form: str) -> List[Job]:
    """All runs of a form: seed by seed, so that what is finished compares,
    and within a seed method by method."""
    methods, seeds, times = FORMS[form]
    per_task = [
        expand(
            tasks=[str(CONFIGS / f'{task.config}.py')],
            method_names=methods,
            seeds=seeds,
            work_dir=str(OUT / form),
            options=(
                f'train_cfg.max_epochs={task.epochs * times}',
                f'train_cfg.val_interval={task.every * times}'))
        for task in TASKS]
    return sorted((job for together in zip(*per_task) for job in together),
                  key=lambda job: job.seed)


def report(form: str, out: Optional[str] = None) -> List[Path]:
    """Render what is finished of a form.

    Args:
        form (str): ``'short'`` or ``'full'``.
        out (str, optional): Folder of the files; beside the runs by default.
            Another one gets the runs' records too, in ``runs/``.

    Returns:
        list[Path]: ``tables.md``, ``orderings.md``, ``differences.md`` (over
        the seeds, in points), ``runs.csv``, and
        ``loss`` and ``metrics`` as PNG and SVG.

    Raises:
        ConfigError: If no run is finished.
    """
    folder = OUT / form
    records = [run for run in collect([folder]) if run['finished']]
    if not records:
        raise ConfigError(f'{folder}: no finished run; start them with '
                          f'tools/mini_study.py --form {form}')
    target = Path(out or folder)
    runs = run_frame(records, load_cells())
    results = {task.title: results_of(runs, task.config, task.metric)
               for task in TASKS}
    texts = {
        'tables.md': render(records), 'runs.csv': render(records, 'csv'),
        'orderings.md': orderings(results),
        'differences.md': '\n'.join(
            f'## {title}\n\n{_differences(found)}'
            for title, found in results.items())}
    for name, text in texts.items():
        with write_atomically(target / name) as path:
            Path(path).write_text(text)
    if out:
        for source in (Path(record['source']) for record in records):
            kept = target / 'runs' / source.relative_to(folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(kept) as path:
                shutil.copyfile(source, path)
    logs: Dict[str, Dict[str, List[Log]]] = {
        task.config: defaultdict(list) for task in TASKS}
    for run in runs.drop_duplicates('run').itertuples():
        logs[run.task][display_name(run.word)].append(
            read_log(Path(run.source).parent))
    found = [task for task in TASKS if logs[task.config]]
    loss = [panel_of(task.title, 'loss', logs[task.config], smooth=8, x='iter')
            for task in found]
    metric = [panel_of(task.title, task.key, logs[task.config], x='epoch')
              for task in found]
    metric = [panel for panel in metric
              if any(len(line.mean) > 1 for line in panel.lines.values())]
    return [*(target / name for name in texts),
            *draw(loss, target / 'loss'), *draw(metric, target / 'metrics')]


def _differences(results: Results) -> str:
    """The pairs of methods of one task, seed by seed."""
    by_method = {display_name(word): values.dropna().to_dict()
                 for word, values in results.iterrows()}
    return differences_table(by_method, [
        tuple(map(display_name, pair)) for pair in PAIRS])
