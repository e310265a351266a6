"""Methods down, tasks across: what a table of results is made of."""
from dataclasses import dataclass, field
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from mona_mm.ledger.cells import TABLES, Cell
from mona_mm.ledger.match import Groups, deviations_in, grouped, match
from mona_mm.ledger.metrics import named
from mona_mm.ledger.naming import Name, parse, place
from mona_mm.ledger.runs import Run


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        backbone (str): ``'Swin-L'``, for example; empty where the tasks
            name it.
        method (str): As the paper writes it.
        variant (str): What is different from the method itself.
    """

    backbone: str
    method: str
    variant: str = ''

    @property
    def full(self) -> 'Row':
        """What it is compared with."""
        return Row(self.backbone, 'Full')


@dataclass
class Spot:
    """Where a row meets a task.

    Args:
        groups (list): Finished runs, those that did the same together.
        published (dict[str, float]): By metric, in per cent.
        trained (int | None): Parameters of the backbone that train.
        share (float | None): Of all parameters of the backbone.
    """

    groups: Groups = field(default_factory=list)
    published: Dict[str, float] = field(default_factory=dict)
    trained: Optional[int] = None
    share: Optional[float] = None


@dataclass
class Grid:
    """Everything that the tables of one title show.

    Args:
        title (str): What it is about.
        spots (dict[tuple[Row, str], Spot]): By row and task.
        metrics (dict[str, list[str]]): By task, in order.
        from_paper (bool): Whether there are published values.
        unfinished (list[Run]): Runs that are named and not counted.
    """

    title: str
    spots: Dict[Tuple[Row, str], Spot]
    metrics: Dict[str, List[str]]
    from_paper: bool
    unfinished: List[Run] = field(default_factory=list)

    @property
    def rows(self) -> List[Row]:
        """In the paper's order."""
        return sorted({row for row, _ in self.spots}, key=lambda r: place(
            r.backbone, r.method, r.variant))

    @property
    def tasks(self) -> List[str]:
        """In the order of the metafiles, or of the names."""
        return list(self.metrics)

    def spot(self, row: Row, task: str) -> Spot:
        """What is there, if only nothing."""
        return self.spots.get((row, task), Spot())

    def shared(self, task: str) -> Tuple[str, ...]:
        """What all runs of a task changed alike; nothing if they differ."""
        found = {what for (_, name), spot in self.spots.items()
                 for what, _ in spot.groups if name == task}
        return found.pop() if len(found) == 1 else ()

    @property
    def same_n(self) -> Optional[int]:
        """How many runs every field has, None if it differs."""
        sizes = {len(runs) for spot in self.spots.values()
                 for _, runs in spot.groups}
        return sizes.pop() if len(sizes) == 1 else None

    def label(self, row: Row) -> str:
        """A row's name; the backbone only where they differ."""
        several = len({r.backbone for r in self.rows}) > 1
        words = [row.method, row.variant, row.backbone * several]
        return ', '.join(filter(None, words))


def grids(runs: Sequence[Run], cells: Sequence[Cell]) -> List[Grid]:
    """Lay runs out as the paper's tables, and the others by their names.

    Args:
        runs (Sequence[Run]): Any runs.
        cells (Sequence[Cell]): The cells of the paper.

    Returns:
        list[Grid]: Tables of the paper that runs belong to, with the tasks
        that they belong to, then at most two of all other runs.
    """
    matched = match(runs, cells)
    tables = [_paper_grid(name, [c for c in cells if name in c.tables],
                          matched.by_cell) for name in TABLES]
    found = [grid for grid in tables if grid]
    return found + _pivots(matched.rest)


def _paper_grid(name: str, cells: Sequence[Cell],
                by_cell: Dict[str, List[Run]]) -> Optional[Grid]:
    task = _namer(cells)
    run = {task(cell) for cell in cells if by_cell.get(cell.name)}
    cells = [cell for cell in cells if task(cell) in run]
    if not cells:
        return None
    spots, metrics = {}, {}
    for cell in cells:
        row = Row(cell.backbone, cell.method, cell.variant)
        spots[row, task(cell)] = _spot(cell, by_cell.get(cell.name, []))
        known = metrics.setdefault(task(cell), [])
        known += [m for m in cell.metrics if m not in known]
    return Grid(f'{name}: {TABLES[name]}', spots, metrics, True, [
        r for c in cells for r in by_cell.get(c.name, ()) if not r.finished])


def _namer(cells: Iterable[Cell]):
    """Datasets name tasks; the model does too where it makes a difference."""
    models: Dict[str, set] = {}
    for cell in cells:
        models.setdefault(cell.dataset, set()).add(cell.model)
    return lambda cell: (f'{cell.model}, {cell.dataset}' if len(
        models[cell.dataset]) > 1 else cell.dataset)


def _spot(cell: Cell, runs: Sequence[Run]) -> Spot:
    finished = [run for run in runs if run.finished]
    return Spot(
        grouped(finished, lambda run: deviations_in(cell, run)),
        cell.published, cell.trained, cell.share)


def _pivots(runs: Sequence[Run]) -> List[Grid]:
    """Tasks on which methods can be compared, and then the others."""
    methods: Dict[str, set] = {}
    for name in map(name_of, runs):
        methods.setdefault(name.task, set()).add((name.method, name.variant))
    parts: Dict[str, List[Run]] = {}
    for run in runs:
        alone = len(methods[name_of(run).task]) == 1
        parts.setdefault(_ALONE if alone else _COMPARED, []).append(run)
    return [_pivot(title, parts[title]) for title in (_COMPARED, _ALONE)
            if title in parts]


_COMPARED = 'Runs by method and task'
_ALONE = 'Runs of tasks with a single method'


def _pivot(title: str, runs: Sequence[Run]) -> Grid:
    spots: Dict[Tuple[Row, str], List[Run]] = {}
    metrics: Dict[str, List[str]] = {}
    for run in runs:
        name = name_of(run)
        row = Row('', name.method, name.variant)  # the task has the backbone
        known = metrics.setdefault(name.task, [])
        if run.finished:
            spots.setdefault((row, name.task), []).append(run)
            known += [m for m in named(run.last) if m not in known]
    return Grid(
        title, {k: _pivot_spot(v) for k, v in spots.items()},
        dict(sorted(metrics.items())), False,
        [run for run in runs if not run.finished])


def name_of(run: Run) -> Name:
    """What a run's config is called, and the method that it trained.

    Args:
        run (Run): A run of any config.

    Returns:
        Name: By OpenMMLab's naming. Of a config named otherwise the task
        is the whole stem, and the method is the tuner's; the tuner decides
        where the name says another method too (``--tuner``).
    """
    name = parse(run.config)
    if name is None:
        stem = run.config.replace('\\', '/').split('/')[-1]
        return Name(stem.removesuffix('.py'), '', run.method or 'unknown')
    if run.method in (None, name.method):
        return name
    return Name(name.task, name.backbone, run.method)


def _pivot_spot(runs: Sequence[Run]) -> Spot:
    return Spot(grouped(runs, lambda run: run.deviations),
                trained=runs[0].trained, share=runs[0].share)
