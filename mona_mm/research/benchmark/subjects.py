"""What is compared: backbones that differ in their tuner only."""
import gc
from dataclasses import dataclass, field
from typing import Callable, Dict, List, Sequence, Tuple

import torch
from torch import nn

from mona_mm.checkpoint.describe import defaults
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
    def channels(self) -> int:
        """Of the images."""
        return self.backbone.get('in_channels', 3)

    @property
    def without_line_by_line(self) -> Dict[str, Builder]:
        """The subjects, less the line-by-line forms."""
        return {label: builder for label, builder in self.subjects.items()
                if not label.endswith(LINE_BY_LINE)}

    def add_subjects(self, against: Sequence[str]) -> 'Comparison':
        """Fill ``subjects`` and ``references``.

        Args:
            against (Sequence[str]): ``'full'`` (the library's own backbone,
                every parameter trained), ``'plain'`` (the same method line
                by line), names of methods, or ``['none']``.

        Raises:
            ConfigError: If a name is unknown.
        """
        words = [word for word in against if word != NONE]
        # Methods to compare with, as ``configs/_base_/tuners`` has them.
        named = [word for word in words if word not in (FULL, PLAIN)]
        for label, tuner in choose_tuners(named).items() if named else ():
            other = self.tuners.get(label, tuner) != tuner
            self.others[label + ' (default)' * other] = tuner
        library = self.family.plain_class.__module__.split('.')[0]
        full = f'{FULL} ({library})'
        for label, tuner in self.tuners.items():
            self.subjects[label] = lambda t=tuner: self.tuned(t)
        for label, tuner in self.tuners.items():
            found = {}
            if FULL in words:
                found[FULL] = full, self.plain
            if PLAIN in words:
                found[PLAIN] = (label + LINE_BY_LINE,
                                lambda t=tuner: self.tuned(t, True))
            for other, theirs in self.others.items():
                found[other] = other, lambda t=theirs: self.tuned(t)
            found = {word: (reference, builder) for word, (
                reference, builder) in found.items() if reference != label}
            self.references[label] = {
                word: reference for word, (reference, _) in found.items()}
            for reference, builder in found.values():
                self.subjects.setdefault(reference, builder)
        self.notes += [f'{label} is {tuner}' for label, tuner in
                       self.tuners.items() if '#' in label]
        if PLAIN in words and not self._has_line_by_line():
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
        return self.family.plain_class(
            **self.family.plain_arguments(self.backbone))

    def _has_line_by_line(self) -> bool:
        return 'line_by_line' in defaults(self.family)


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
