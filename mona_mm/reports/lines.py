"""The lines of the ledger: cells, metrics, and the runs of each."""
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from mona_mm.ledger.cells import Cell
from mona_mm.ledger.match import deviations_in, grouped, match
from mona_mm.ledger.metrics import METRICS
from mona_mm.ledger.parts import Value, average
from mona_mm.ledger.runs import Run
from mona_mm.ledger.tables import NOT_MEASURED, NOT_RUN, measure


@dataclass(frozen=True)
class Line:
    """One cell, one metric, and the runs that did the same.

    Args:
        cell (Cell): The cell.
        metric (str): By the paper's name.
        runs (tuple[Run]): Finished ones, of one group; perhaps none.
        changes (tuple[str]): What these did differently from the config.
        unfinished (tuple[Run]): Those of the cell, where none is finished.
    """

    cell: Cell
    metric: str
    runs: Tuple[Run, ...] = ()
    changes: Tuple[str, ...] = ()
    unfinished: Tuple[Run, ...] = ()

    @property
    def published(self) -> Optional[float]:
        """The published value in per cent."""
        return self.cell.published.get(self.metric)

    @property
    def by(self) -> str:
        """Who published it."""
        return self.cell.by if self.published is not None else 'nobody'

    @property
    def also(self) -> List[str]:
        """What others report."""
        return [f'{values[self.metric]}, {by}'
                for by, values in self.cell.also if self.metric in values]

    @property
    def ours(self) -> Optional[Value]:
        """The mean of the last validations."""
        read = measure(self.metric, 'last')
        return average([read(run) for run in self.runs])

    @property
    def status(self) -> str:
        """Why there is no value of ours."""
        if self.runs:
            return NOT_MEASURED
        return '; '.join(f'unfinished: {run.progress}'
                         for run in self.unfinished) or NOT_RUN

    @property
    def by_hand(self) -> bool:
        """Whether a value was added after training."""
        keys = {m.key for m in METRICS if m.name == self.metric}
        return any(keys & set(run.by_hand) for run in self.runs)

    @property
    def decimals(self) -> int:
        """As many as are published."""
        return 2 if self.published is None else len(
            repr(float(self.published)).split('.')[1])

    def each(self, name: str) -> List[str]:
        """A field of all runs, without repetitions."""
        values = [getattr(run, name) for run in self.runs]
        return list(dict.fromkeys(str(v) for v in values if v is not None))

    def mean(self, name: str) -> Optional[float]:
        """The mean of a field."""
        value = average([getattr(run, name) for run in self.runs])
        return value and value.mean


def lines_of(cells: Sequence[Cell], runs: Sequence[Run]) -> List[Line]:
    """Every cell and metric, once per group of runs that did the same.

    Args:
        cells (Sequence[Cell]): The cells of the paper.
        runs (Sequence[Run]): The ledger's runs.

    Returns:
        list[Line]: In the order of the metafiles.
    """
    by_cell = match(runs, cells).by_cell
    return [Line(cell, metric, *group)
            for cell in cells for metric in cell.metrics
            for group in _groups(cell, by_cell.get(cell.name, []))]


def _groups(cell: Cell, runs: Sequence[Run]) -> List[tuple]:
    groups = grouped([run for run in runs if run.finished],
                     lambda run: deviations_in(cell, run))
    return [(tuple(found), what, ()) for what, found in groups] or [
        ((), (), tuple(runs))]
