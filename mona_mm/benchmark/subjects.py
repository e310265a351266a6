"""What is compared: backbones that differ in their tuner only."""
import inspect
from dataclasses import dataclass, field
from os.path import basename, splitext
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from torch import nn

from mona_mm.backbones import TunedBackbone
from mona_mm.engine.launch import read_config
from mona_mm.errors import ConfigError
from mona_mm.registry import MODELS

from .methods import choose_tuners

FULL, PLAIN, NONE = 'full', 'plain', 'none'
LINE_BY_LINE = ', line by line'
Builder = Callable[[], nn.Module]
#: The optimizer where no config names one; the rules are our schedules'.
_OPTIM_WRAPPER = dict(
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0))))
_NOT_SHARED = ('tuner', 'init_cfg', 'allow_random_base')


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
        cls = _library_class(self.family)
        accepted = set(inspect.signature(cls).parameters)
        ours = inspect.signature(_tuned_class(self.family)).parameters
        kwargs = {
            k: p.default
            for k, p in ours.items() if p.default is not p.empty
        }
        kwargs.update(self.backbone)
        return cls(**{k: v for k, v in kwargs.items() if k in accepted
                      and k != 'init_cfg'})

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
        library = _library_class(self.family).__module__.split('.')[0]
        return f'full ({library})'

    def _has_line_by_line(self) -> bool:
        return any('line_by_line' in inspect.signature(c).parameters
                   for c in self.family.__mro__ if c is not object)


def from_arch(arch,
              methods: Optional[Sequence[str]] = None,
              against: Sequence[str] = (FULL, PLAIN),
              drop_path: Optional[float] = None,
              with_cp: bool = False) -> List[Comparison]:
    """Compare methods on a Swin Transformer.

    Args:
        arch (str | dict): As of ``TunedSwinTransformer``.
        methods (Sequence[str], optional): Defaults to Mona.
        against (Sequence[str]): See :meth:`Comparison.add_subjects`.
        drop_path (float, optional): Defaults to 0.3.
        with_cp (bool): Recompute blocks in the backward pass.

    Raises:
        ConfigError: If the arch or a method is unknown.
    """
    _check_arch(arch)
    backbone = dict(
        type='mona_mm.TunedSwinTransformer',
        arch=arch,
        drop_path_rate=0.3 if drop_path is None else drop_path,
        with_cp=with_cp)
    comparison = Comparison(
        f'Swin {arch if isinstance(arch, str) else "custom"}', backbone,
        _OPTIM_WRAPPER, choose_tuners(methods or ['mona']))
    return [comparison.add_subjects(against)]


def from_configs(paths: Sequence[str],
                 methods: Optional[Sequence[str]] = None,
                 against: Sequence[str] = (FULL, PLAIN),
                 drop_path: Optional[float] = None,
                 with_cp: bool = False) -> List[Comparison]:
    """Compare the backbones of configs; those that share one share a table.

    Args:
        paths (Sequence[str]): Config files.
        methods (Sequence[str], optional): In place of the configs' tuners.
        against (Sequence[str]): See :meth:`Comparison.add_subjects`.
        drop_path (float, optional): In place of the configs'.
        with_cp (bool): Recompute blocks in the backward pass, whatever the
            configs say.

    Raises:
        ConfigError: If a config does not exist or has no tuned backbone, or
            a method is unknown.
    """
    named = choose_tuners(methods) if methods else None
    groups: Dict[str, Comparison] = {}
    for path in paths:
        described = _backbone(path, read_config(path))
        backbone = _shared(described, drop_path, with_cp)
        optim = _optim_wrapper(read_config(path))
        group = groups.setdefault(
            repr((backbone, optim['paramwise_cfg'])),
            Comparison('', backbone, optim))
        group.configs.append(path)
        for label, tuner in (named or _own_tuner(described)).items():
            _add_tuner(group.tuners, label, tuner)
    for group in groups.values():
        stems = [splitext(basename(c))[0] for c in group.configs]
        group.name = f'Backbone of {", ".join(stems)}'
        group.add_subjects(against)
    return list(groups.values())


def build(builder: Builder, seed: int, place: torch.device) -> nn.Module:
    """Build a subject: the same seed gives all the same base."""
    torch.manual_seed(seed)
    return builder().to(place)


def _add_tuner(tuners: Dict[str, dict], label: str, tuner: dict) -> None:
    """Add a tuner unless it is there; another setting is numbered."""
    if tuner in tuners.values():
        return
    number = sum(k.split(' #')[0] == label for k in tuners) + 1
    tuners[label if number == 1 else f'{label} #{number}'] = tuner


def _backbone(path: str, cfg: Config) -> dict:
    model = cfg.get('model') or {}
    while 'backbone' not in model and 'module' in model:
        model = model['module']
    found = model.get('backbone') or {}
    kind = found.get('type')
    cls = MODELS.get(kind) if 'mona_mm.' in str(kind) else None
    if cls is None or not issubclass(cls, TunedBackbone):
        raise ConfigError(
            f'the backbone {kind!r} of {path} takes no tuner; expected '
            'mona_mm.TunedSwinTransformer or another of mona_mm')
    return found.to_dict()


def _shared(described: dict, drop_path: Optional[float],
            with_cp: bool) -> dict:
    """A backbone's config without what may differ inside one table."""
    backbone = {k: v for k, v in described.items() if k not in _NOT_SHARED}
    # The paper's name differs in its default tuner alone.
    if backbone['type'] == 'mona_mm.SwinTransformerMona':
        backbone['type'] = 'mona_mm.TunedSwinTransformer'
    parameters = inspect.signature(MODELS.get(backbone['type'])).parameters
    backbone.setdefault('drop_path_rate',
                        parameters['drop_path_rate'].default)
    backbone['with_cp'] = with_cp or backbone.get('with_cp', False)
    if drop_path is not None:
        backbone['drop_path_rate'] = drop_path
    return backbone


def _own_tuner(described: dict) -> Dict[str, dict]:
    tuner = described.get('tuner') or dict(
        type='Mona' if described['type'].endswith('Mona') else 'Full')
    return {str(tuner['type']).removeprefix('mona_mm.'): tuner}


def _optim_wrapper(cfg: Config) -> dict:
    found = cfg.get('optim_wrapper')
    if not found:
        return _OPTIM_WRAPPER
    return dict(
        optimizer=found['optimizer'].to_dict(),
        paramwise_cfg=dict(found.get('paramwise_cfg') or {}))


def _check_arch(arch) -> None:
    zoo = _library_class(MODELS.get('mona_mm.TunedSwinTransformer')).arch_zoo
    if isinstance(arch, str) and arch not in zoo:
        raise ConfigError(f'--arch {arch!r}: expected one of '
                          f'{", ".join(sorted(zoo, key=len))}')


def _library_class(family: type) -> type:
    """The class of an OpenMMLab library that a family builds on."""
    return next(c for c in family.__mro__
                if not c.__module__.startswith('mona_mm'))


def _tuned_class(family: type) -> type:
    """The most basic class of ours: its defaults are the family's."""
    library = _library_class(family)
    return next(c for c in reversed(family.__mro__)
                if c.__module__.startswith('mona_mm')
                and issubclass(c, library))
