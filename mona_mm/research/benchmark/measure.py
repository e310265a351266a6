"""What all measures have in common: figures, ratios, tables."""
from statistics import median
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Tuple

from tqdm import tqdm

from mona_mm.reports.tables import markdown

from .options import Options, Size
from .step import Ratio, TrainingStep, alternate, ratio
from .subjects import Builder, Comparison, build, set_skip

MIB = 2**20
NOTHING = '-'
ROUNDS = 'median (smallest-largest) of the rounds'
Rows = Dict[str, dict]


class Measure:
    """One thing that is measured of all subjects of a comparison.

    A measure gives figures (:meth:`measure`), the ratios of methods to their
    references (:meth:`ratios`), and a table of both (:meth:`show`).

    Args:
        comparison (Comparison): What is compared.
        options (Options): How to measure.
        size (Size | None): The image batch; None if it is measured once.
    """

    #: What ``--only`` calls it.
    name: str = ''
    #: Whether it is measured once, and not for every size.
    once: bool = False
    #: Whether it is of a GPU; on a CPU no figure is taken.
    on_gpu: bool = False
    #: The figures that ratios are taken of.
    parts: Sequence[str] = ('total', )

    def __init__(self, comparison: Comparison, options: Options,
                 size: Optional[Size] = None) -> None:
        self.comparison, self.options, self.size = comparison, options, size

    def measure(self) -> Rows:
        """Take the figures: numbers, or lists of one per round.

        Returns:
            dict[str, dict]: Plain data, by label of the subject and by
            figure.
        """
        raise NotImplementedError

    def pairs(self, rows: Rows) -> List[Tuple[str, str]]:
        """(method, reference) of every ratio, given the figures."""
        return self.comparison.pairs

    def ratios(self, rows: Rows) -> List[dict]:
        """Divide the figures of methods by those of their references.

        Args:
            rows (dict): Of :meth:`measure`.

        Returns:
            list[dict]: Of :func:`compared`.
        """
        return [compared(own, other, rows[own][part], rows[other][part],
                         part=part)
                for own, other in self.pairs(rows) for part in self.parts]

    def show(self, rows: Rows, ratios: List[dict]) -> str:
        """Lay out tables of what :meth:`measure` and :meth:`ratios` gave."""
        raise NotImplementedError

    def bar(self, total: int) -> tqdm:
        """A progress bar on stderr; none where stderr is no terminal."""
        return tqdm(desc=f'{self.name} {self.size or ""}', total=total,
                    leave=False, disable=None)

    def in_turns(self, jobs: Dict[str, Callable], runs: Optional[int] = None,
                 warmup: Optional[int] = None) -> Dict[str, Dict[str, list]]:
        """Time jobs in turns; as often as the options say by default."""
        runs = self.options.runs if runs is None else runs
        warmup = self.options.warmup if warmup is None else warmup
        with self.bar(len(jobs) * (runs + warmup)) as bar:
            return alternate(jobs, runs, warmup, self.options.seed,
                             bar.update)

    def steps(self, subjects: Dict[str, Builder],
              size: Size) -> Dict[str, TrainingStep]:
        """Build the training step of every subject on the same images."""
        options = self.options
        images = options.images(size, self.comparison.channels)
        found = {}
        for label, builder in subjects.items():
            model = build(builder, options.seed, options.place)
            set_skip(model, options.skip_dropped)
            found[label] = TrainingStep(
                model, self.comparison.optim_wrapper, images, options)
        return found

    def by_reference(self, rows: Rows, ratios: List[dict], caption: str,
                     figures: Dict[str, str],
                     also: Sequence[str] = ()) -> str:
        """A table of one line per subject: its ratios, then its figures.

        Args:
            rows (dict): Of :meth:`measure`.
            ratios (list[dict]): Of :meth:`ratios`.
            caption (str): Of the table.
            figures (dict[str, str]): Those that are shown, by the titles of
                their columns.
            also (Sequence[str]): Further references than the comparison's.
        """
        references = self.comparison.references
        words = list(dict.fromkeys(
            [word for found in references.values() for word in found]))
        words += also

        def against(label: str, word: str) -> str:
            reference = references.get(label, {}).get(word, word)
            return shown(find(ratios, method=label, against=reference),
                         spread=False)

        return table(
            caption, ['subject', *(f'of {word}' for word in words), *figures],
            [[label, *(against(label, word) for word in words),
              *(number(row[key]) for key in figures.values())]
             for label, row in rows.items()])


def ratio_table(caption: str, ratios: List[dict], key: str) -> str:
    """A table of ratios, one line per pair.

    Args:
        caption (str): Of the table.
        ratios (list[dict]): Of :meth:`Measure.ratios`.
        key (str): The entry that tells the ratios of a pair apart: the
            columns are its values.
    """
    columns = list(dict.fromkeys(row[key] for row in ratios))
    pairs = dict.fromkeys((row['method'], row['against']) for row in ratios)
    return table(
        f'{caption}: ratio, {ROUNDS}', ['method', 'against', *columns],
        [[own, other, *(shown(find(ratios, method=own, against=other,
                                   **{key: column})) for column in columns)]
         for own, other in pairs], 2)


def compared(method: str, against: str, own, other, **entries) -> dict:
    """A ratio as plain data.

    Args:
        method (str): The label of what is divided,
        against (str): and of what it is divided by.
        own (float | Sequence[float]): Its figure, or one per round,
        other (float | Sequence[float]): and that of the same rounds.
        **entries: What else tells the ratio from others.

    Returns:
        dict: With ``median``, ``low`` and ``high``, None if there is none.
    """
    found = ratio(*(x if isinstance(x, list) else [x] for x in (own, other)))
    return dict(method=method, against=against, **entries, **(
        found._asdict() if found else dict.fromkeys(Ratio._fields)))


def find(ratios: Iterable[dict], **what) -> Optional[Ratio]:
    """The ratio with these entries; ``None`` if there is none."""
    for row in ratios:
        if all(row.get(k) == v for k, v in what.items()):
            return None if row['median'] is None else Ratio(
                row['median'], row['low'], row['high'])
    return None


def table(caption: str,
          head: Sequence[str],
          rows: Sequence[Sequence[str]],
          left: int = 1) -> str:
    """Lay out a table that is aligned as text and valid as Markdown.

    Args:
        caption (str): Stands above, in bold.
        head (Sequence[str]): Titles of the columns.
        rows (Sequence[Sequence[str]]): Cells, as many per row; without any
            there is no table.
        left (int): How many columns are words, and flush left.
    """
    return f'\n**{caption}**\n\n{markdown(head, rows, left, padded=True)}' if (
        rows) else ''


def number(value: Optional[float], digits: int = 1) -> str:
    """A figure with thousands apart; a dash for none."""
    return NOTHING if value is None else f'{value:,.{digits}f}'


def middle(rounds: Sequence[Optional[float]]) -> str:
    """The median of the rounds; a dash if one has no figure."""
    return NOTHING if None in rounds else number(median(rounds))


def shown(found: Optional[Ratio], spread: bool = True) -> str:
    """A ratio, with its range or alone; a dash for none."""
    if found is None:
        return NOTHING
    return str(found) if spread else f'{found.median:.3f}'
