"""The datasets of a config, inside whatever wraps them."""
from dataclasses import dataclass, field
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mona_mm.config import class_of, datasets, name_of


class Wrapped(NamedTuple):
    """A dataset's config, and whether a wrapper ignores its class names."""

    cfg: dict
    other_classes: bool


def leaves(loader: Any) -> Iterator[Wrapped]:
    """The datasets inside wrappers (repeat, concat, class-balanced, mix ...).

    Args:
        loader (dict | list, optional): A data loader, or several.
    """
    found = dict(datasets(loader))
    ignoring = []
    for path, cfg in (*datasets(loader, wrappers=True), *found.items()):
        keys = cfg.get('ignore_keys') or ()
        if 'classes' in ([keys] if isinstance(keys, str) else keys):
            ignoring.append(f'{path}.')
    for path, cfg in found.items():
        yield Wrapped(cfg, f'{path}.'.startswith(tuple(ignoring)))


@dataclass
class Leaf:
    """One dataset of a config, and what was found out about its labels.

    Attributes:
        where (str): Its data loader, such as ``train_dataloader``.
        cfg (dict): Its config.
        scope (str): The config's ``default_scope``.
        counts (tuple[int, ...]): ``num_classes`` of the model's heads.
        other_classes (bool): A wrapper ignores that its classes differ.
        data (BaseDataset, optional): The dataset, with its arguments
            understood and its labels not yet read.
        classes (tuple[str, ...], optional): What labels 0, 1 ... are called.
        written (tuple[str, ...], optional): What the label files call them,
            where files say so.
        problems (list[str]): What stops a run.
        notes (list[str]): What is worth a warning.
    """

    where: str
    cfg: dict
    scope: str = 'mmengine'
    counts: Tuple[int, ...] = ()
    other_classes: bool = False
    data: Optional[BaseDataset] = None
    classes: Optional[Tuple[str, ...]] = None
    written: Optional[Tuple[str, ...]] = None
    problems: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """The name of its class."""
        return name_of(self.cfg.get('type'))

    @property
    def trains(self) -> bool:
        """Whether the model learns from it."""
        return self.where.startswith('train')

    def refuse(self, text: str) -> None:
        """Note what stops a run."""
        self.problems.append(f'{self.where}: {self.kind}: {text}')

    def warn(self, text: str) -> None:
        """Note what is worth a warning."""
        self.notes.append(f'{self.where}: {self.kind}: {text}')

    def step(self, ending: str) -> Optional[dict]:
        """The pipeline's first transform whose name ends so.

        Args:
            ending (str): Such as ``LoadAnnotations``.
        """
        return next((s for s in _steps(self.cfg.get('pipeline'))
                     if name_of(s.get('type')).endswith(ending)), None)

    def build(self) -> None:
        """Build the dataset without reading its labels.

        The library's own constructor then joins paths, fills in suffixes and
        merges class names.
        """
        cls = class_of(self.cfg.get('type'), DATASETS, self.scope)
        if not (isinstance(cls, type) and issubclass(cls, BaseDataset)):
            return
        cfg = dict(self.cfg, type=cls, pipeline=[], lazy_init=True)
        try:
            with DATASETS.switch_scope_and_registry(self.scope) as registry:
                self.data = registry.build(cfg)
        except TypeError:
            return  # a constructor of its own; building it is the Runner's
        except Exception as error:  # whatever a constructor raises
            self.refuse(f'cannot be built: {error}')


def spread(items: list, most: int) -> list:
    """At most so many of the items, evenly spread."""
    step = max(len(items) / most, 1)
    return [items[int(i * step)] for i in range(min(most, len(items)))]


def _steps(pipeline: Any) -> Iterator[dict]:
    for step in pipeline if isinstance(pipeline, (list, tuple)) else ():
        if isinstance(step, dict):
            yield step
            yield from _steps(step.get('transforms'))
        else:
            yield from _steps(step)
