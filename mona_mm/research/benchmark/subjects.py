"""What is compared: backbones that differ in their tuner only."""
import gc
import inspect
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Sequence, Tuple

import torch
from torch import nn

from mona_mm.registry import MODELS

from .methods import choose_tuners

FULL, PLAIN, NONE = 'full', 'plain', 'none'
LINE_BY_LINE = ', line by line'
#: Backbones refer to themselves, so dropped ones stay until the collector
#: comes; from this number of bytes on it is called for each.
_LARGE = 2**28
Builder = Callable[[], nn.Module]


@dataclass
class Comparison:
    """Subjects that stand in one table.

    Attributes:
        name (str): For titles.
        backbone (dict): The backbone's config without its tuner.
        optim_wrapper (dict): ``optimizer`` and ``paramwise_cfg``.
        tuners (dict[str, dict]): What is measured, by label.
        others (dict[str, dict]): Methods that are references only.
        configs (list[str]): Config files this comes from.
        subjects (dict[str, Callable]): All builders by label, references
            included.
        references (dict[str, dict[str, str]]): By label of a method: labels
            of its references by the word that asked for them.
        notes (list[str]): What a reader of the table must know.
    """
    name: str
    backbone: dict
    optim_wrapper: dict
    tuners: Dict[str, dict] = field(default_factory=dict)
    others: Dict[str, dict] = field(default_factory=dict)
    configs: List[str] = field(default_factory=list)
    subjects: Dict[str, Builder] = field(default_factory=dict)
    references: Dict[str, Dict[str, str]] = field(default_factory=dict)
    notes: List[str] = field(default_factory=list)

    @property
    def family(self) -> type:
        """The class of the tuned backbones."""
        return MODELS.get(self.backbone['type'])

    @property
    def pairs(self) -> List[Tuple[str, str]]:
        """(method, reference) of every ratio."""
        return [(method, reference)
                for method, found in self.references.items()
                for reference in found.values()]

    @property
    def drop_path_rate(self) -> float:
        """The rate of stochastic depth."""
        return self.backbone['drop_path_rate']

    @property
    def channels(self) -> int:
        """Of the images."""
        return self.backbone.get('in_channels', 3)

    @property
    def without_line_by_line(self) -> Dict[str, Builder]:
        """The subjects, less the line-by-line forms."""
        return {
            k: v
            for k, v in self.subjects.items() if not k.endswith(LINE_BY_LINE)
        }

    def add_subjects(self, against: Sequence[str]) -> 'Comparison':
        """Fill ``subjects`` and ``references``.

        Args:
            against (Sequence[str]): ``'full'`` (the library's own backbone,
                every parameter trained), ``'plain'`` (the same method line
                by line), names of methods, or ``['none']``.

        Raises:
            ConfigError: If a name is unknown.
        """
        against = [a for a in against if a != NONE]
        named = [a for a in against if a not in (FULL, PLAIN)]
        self.others = self._others(named)
        for label, tuner in self.tuners.items():
            self.subjects[label] = lambda t=tuner: self.tuned(t)
        for label in self.tuners:
            self.references[label] = {}
            if FULL in against:
                self._refer(label, FULL, self._full_label(), self.plain)
            if PLAIN in against:
                self._refer(label, PLAIN, label + LINE_BY_LINE,
                            lambda t=self.tuners[label]: self.tuned(t, True))
            for other, tuner in self.others.items():
                self._refer(label, other, other,
                            lambda t=tuner: self.tuned(t))
        self.notes += [f'{label} is {tuner}' for label, tuner in
                       self.tuners.items() if '#' in label]
        if PLAIN in against and not self._has_line_by_line():
            self.notes.append(
                f'{self.family.__name__} has no other form than line by line:'
                ' each method is compared with itself there')
        return self

    def tuned(self, tuner: dict, line_by_line: bool = False) -> nn.Module:
        """Build the backbone with a tuner, on a random base."""
        kwargs = dict(self.backbone, tuner=dict(tuner), init_cfg=None,
                      allow_random_base=True)
        if line_by_line and self._has_line_by_line():
            kwargs['line_by_line'] = True
        return MODELS.build(kwargs)

    def plain(self) -> nn.Module:
        """Build the library's own backbone of the same shape."""
        cls = self.family.plain_class
        return cls(**self.family.plain_arguments(self.backbone))

    def _others(self, names: Sequence[str]) -> Dict[str, dict]:
        """Methods to compare with, as ``configs/_base_/tuners`` has them."""
        found = choose_tuners(names) if names else {}
        return {
            k if self.tuners.get(k, v) == v else f'{k} (default)': v
            for k, v in found.items()
        }

    def _refer(self, label: str, word: str, reference: str,
               build: Builder) -> None:
        if reference != label:
            self.references[label][word] = reference
            self.subjects.setdefault(reference, build)

    def _full_label(self) -> str:
        library = library_class(self.family).__module__.split('.')[0]
        return f'full ({library})'

    def _has_line_by_line(self) -> bool:
        return any('line_by_line' in inspect.signature(c).parameters
                   for c in self.family.__mro__ if c is not object)


def set_skip(model: nn.Module, value) -> None:
    """Set ``skip_dropped`` of every block that has it."""
    for module in model.modules():
        if hasattr(module, 'skip_dropped'):
            module.skip_dropped = value


def build(builder: Builder, seed: int, place: torch.device) -> nn.Module:
    """Build a subject: the same seed gives all the same base."""
    torch.manual_seed(seed)
    model = builder().to(place)
    if sum(p.nbytes for p in model.parameters()) > _LARGE:
        gc.collect()
    return model


def library_class(family: type) -> type:
    """The class of an OpenMMLab library that a family builds on."""
    return next(c for c in family.__mro__
                if not c.__module__.startswith('mona_mm'))
