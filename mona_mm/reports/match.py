"""Which run belongs to which cell, and what it did differently."""
from dataclasses import dataclass
from typing import Callable, Dict, Iterable, List, Sequence, Tuple

from mona_mm.ledger.cells import Cell
from mona_mm.ledger.runs import Run

#: Runs that did the same, with what they did differently; none comes first.
Groups = List[Tuple[Tuple[str, ...], List[Run]]]


@dataclass(frozen=True)
class Matched:
    """Runs by cell, and those that belong to none.

    Args:
        by_cell (dict[str, list[Run]]): By the cell's name.
        rest (list[Run]): Of configs in no metafile, or with another method
            than their config's.
    """

    by_cell: Dict[str, List[Run]]
    rest: List[Run]


def match(runs: Iterable[Run], cells: Iterable[Cell]) -> Matched:
    """Sort runs into cells.

    Args:
        runs (Iterable[Run]): Any runs.
        cells (Iterable[Cell]): The cells.

    Returns:
        Matched: Runs by cell, and the rest.
    """
    known = {cell.config: cell for cell in cells if cell.config}
    by_cell: Dict[str, List[Run]] = {}
    rest: List[Run] = []
    for run in runs:
        cell = known.get(run.config)
        if cell and run.method in (None, cell.method):
            by_cell.setdefault(cell.name, []).append(run)
        else:
            rest.append(run)
    return Matched(by_cell, rest)


def deviations_in(cell: Cell, run: Run) -> Tuple[str, ...]:
    """What a run did differently from its cell's config.

    Args:
        cell (Cell): The cell.
        run (Run): One of its runs.

    Returns:
        tuple[str]: Changes on the command line, and another number of
        processes than the recipe's, which is another batch size.
    """
    if None in (cell.processes, run.world_size) or (
            cell.processes == run.world_size):
        return run.deviations
    return run.deviations + (
        f'processes: {run.world_size} instead of {cell.processes}', )


def grouped(runs: Sequence[Run],
            deviations: Callable[[Run], Tuple[str, ...]]) -> Groups:
    """Put runs that did the same together.

    Args:
        runs (Sequence[Run]): Of one config.
        deviations (Callable): Gives what a run did differently.

    Returns:
        list: Pairs of deviations and runs, those without any first.
    """
    groups: Dict[Tuple[str, ...], List[Run]] = {}
    for run in runs:
        groups.setdefault(deviations(run), []).append(run)
    return sorted(groups.items(), key=lambda group: (len(group[0]), group[0]))
