"""The paper's comparison in miniature, on generated pictures and a CPU.

Ten methods, and five variants of Mona, on four tasks from one small frozen
backbone: the paper's tables 1 to 4 and its structure ablation with everything
shrunk. It cannot confirm or refute the paper; it shows that all of it runs,
what it costs, and which of the orderings appear at this scale.
"""
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

from mona_mm.errors import ConfigError
from mona_mm.reports.cells import load_cells
from mona_mm.reports.curves import panel_of
from mona_mm.reports.figure import draw
from mona_mm.reports.frame import run_frame
from mona_mm.reports.logs import Log, read_log
from mona_mm.reports.names import PAPER, display_name
from mona_mm.reports.orderings import orderings, results_of
from mona_mm.reports.records import collect
from mona_mm.reports.results import render
from mona_mm.text import write_atomically

from .quickstart import CONFIGS, PRETRAIN, pretrain
from .shapes import make_shapes
from .sweep import Job, Outcome, expand, run_locally

OUT = Path('work_dirs/mini_study')
#: Files in ``configs/quickstart/tuners``.
VARIANTS = ('mona-b8', 'mona-b32', 'mona-k7', 'mona-k333', 'mona-noscale')


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
        seeds (tuple[int]): Each run is repeated with these.
        times (int): Epochs are multiplied by this.
    """
    seeds: Tuple[int, ...]
    times: int


TASKS = (
    Task('retinanet_swin-nano', 'detection', 12, 3, 'AP50',
         'pascal_voc/mAP'),
    Task('upernet_swin-nano', 'segmentation', 16, 4, 'mIoU', 'mIoU'),
    # mmrotate's evaluation starts processes of its own: once is enough.
    Task('oriented-rcnn_swin-nano', 'oriented detection', 8, 8, 'AP50',
         'dota/mAP'),
    Task('swin-nano', 'classification', 20, 5, 'Top 1 Accuracy',
         'accuracy/top1'),
)
FORMS = dict(short=Form((1, ), 1), full=Form((1, 2, 3), 3))
#: Epochs of the base on the source task: more than the quickstart's, because
#: tuning presupposes a base that is worth keeping.
BASE_EPOCHS = 24


def run(form: str, at_once: Optional[int] = None) -> List[Outcome]:
    """Make the pictures and the base, then run what is not finished.

    Args:
        form (str): A key of :data:`FORMS`.
        at_once (int, optional): How many runs at a time; one by default.
    """
    make_shapes('data/shapes')
    pretrain(OUT / 'base.pth', OUT / PRETRAIN,
             f'train_cfg.max_epochs={BASE_EPOCHS}')
    return run_locally(jobs(form), at_once)


def jobs(form: str) -> List[Job]:
    """All runs of a form, method by method so that tasks advance together."""
    seeds, times = FORMS[form]
    per_task = [
        expand(
            tasks=[str(CONFIGS / f'{task.config}.py')],
            method_names=[*PAPER, *VARIANTS],
            seeds=seeds,
            work_dir=str(OUT / form),
            options=(
                f'train_cfg.max_epochs={task.epochs * times}',
                f'train_cfg.val_interval={task.every * times}',
                f'model.backbone.init_cfg.checkpoint={OUT / "base.pth"}'))
        for task in TASKS]
    return [job for together in zip(*per_task) for job in together]


def report(form: str, out: Optional[str] = None) -> List[Path]:
    """Render what is finished of a form.

    Args:
        form (str): ``'short'`` or ``'full'``.
        out (str, optional): Folder of the files; beside the runs by default.

    Returns:
        list[Path]: ``tables.md``, ``orderings.md``, ``runs.csv``, and
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
    texts = {
        'tables.md': render(records), 'runs.csv': render(records, 'csv'),
        'orderings.md': orderings({
            task.title: results_of(runs, task.config, task.metric)
            for task in TASKS})}
    for name, text in texts.items():
        with write_atomically(target / name) as path:
            Path(path).write_text(text)
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
