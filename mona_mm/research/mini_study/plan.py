"""What the miniature study runs."""
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from mona_mm.research.quickstart import PRETRAIN, pretrain
from mona_mm.research.shapes import make_shapes
from mona_mm.research.sweep import Job, expand
from mona_mm.research.sweep.local import Outcome, run_locally

OUT = Path('work_dirs/mini_study')
_QUICK, _VARIANTS = Path('configs/quickstart'), Path('configs/mini_study')


class Task(NamedTuple):
    """One task of the study.

    Attributes:
        name (str): The head of its leaves' names.
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
        """The name of its leaf without a method."""
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
    chosen = FORMS[form]
    per_task = [_jobs_of(task, chosen, form) for task in TASKS]
    return [job for together in zip(*per_task) for job in together]


def _jobs_of(task: Task, form: Form, name: str) -> List[Job]:
    leaf = f'{task.config}.py'
    variants = sorted(_VARIANTS.glob(f'{task.name}-mona-*_shapes.py'))
    return expand(
        tasks=[str(_QUICK / leaf)],
        configs=[str(path) for path in variants],
        seeds=form.seeds,
        work_dir=str(OUT / name),
        options=(
            f'train_cfg.max_epochs={task.epochs * form.times}',
            f'train_cfg.val_interval={task.every * form.times}',
            f'model.backbone.init_cfg.checkpoint={OUT / "base.pth"}'))
