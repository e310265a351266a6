"""The frozen base: complete, known by its content, or not used at all.

A frozen tensor that did not load never trains away, so every one of them is
accounted for. A base whose file is known is left out of delta checkpoints
and put back when they are loaded.
"""
import logging
import os.path as osp
import warnings
from collections import Counter
from contextlib import contextmanager
from typing import (
    Any,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    Optional,
    Tuple,
)

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mona_mm.checkpoint import BaseState, base_state, read_checkpoint, unwrap
from mona_mm.checkpoint.cache import cached, forget, is_url
from mona_mm.checkpoint.candidates import Place, candidates, check_address
from mona_mm.checkpoint.compare import compare, odd_values
from mona_mm.checkpoint.describe import (
    describe_tuner,
    differences,
    remedy,
    tuner_differences,
)
from mona_mm.checkpoint.digest import (
    KnownDigests,
    base_digests,
    joined,
    state_digest,
)
from mona_mm.checkpoint.layouts import below
from mona_mm.checkpoint.record import (
    Base,
    Record,
    needs_base,
    read_record,
    source_of,
)
from mona_mm.compat import inside_runner
from mona_mm.errors import CheckpointError
from mona_mm.text import some

from .channels import fit_stem


class FrozenBase:
    """The pretrained weights under a tuner: load, guard, record, refill.

    Whatever loads the backbone (``load_state_dict``, Runners, inferencers)
    comes by here: a record in the state dict's metadata has the base that was
    left out put back, and what would leave the base half loaded is refused.

    Args:
        backbone (TunedBackbone): With its tuner attached and frozen as it
            will be. It speaks for its family: ``layouts``, ``place``,
            ``fit``, ``derived``, ``stem``, ``output_norms``, ``facts`` and
            ``arguments``.

    Attributes:
        names (frozenset[str]): The frozen parameters.
        computed (frozenset[str]): Buffers that are computed, not learnt.
        optional (frozenset[str]): Tensors of the norms on the outputs, which
            few pretrained files hold.
        required (frozenset[str]): All other pretrained tensors.
        loaded (bool): Whether the base's weights are there.
        source (Base, optional): Which base they are, and where it came from;
            None if unknown.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self.backbone = backbone
        own = frozenset(backbone.state_dict())
        norms = tuple(f'{n}.' for n in backbone.output_norms().values())
        self.names = frozenset(n for n, p in backbone.base_parameters().items()
                               if not p.requires_grad)
        self.computed = frozenset(
            k for k in own if k.endswith(backbone.derived))
        pretrained = own - backbone.delta_names
        self.optional = frozenset(k for k in pretrained if k.startswith(norms))
        self.required = pretrained - self.computed - self.optional
        self.loaded = False
        self.source: Optional[Base] = None
        self._source_digests: Dict[str, str] = {}
        self._digests = KnownDigests()
        self._record: Optional[Record] = None
        self._refilled: FrozenSet[str] = frozenset()
        self._brings_delta = False
        self._warned = False
        # After the library's own hooks, which fit tables of another size.
        backbone.register_load_state_dict_pre_hook(self._guard)
        backbone.register_load_state_dict_post_hook(self._after_load)

    def load(self, source: str, prefix: Optional[str] = None) -> None:
        """Load the pretrained weights from a file.

        Args:
            source (str): A path or URL.
            prefix (str, optional): Where the backbone is in the file.

        Raises:
            CheckpointError: If a tensor is missing, unexpected or of another
                shape; the message names them.
        """
        backbone = self.backbone
        found = self.read(source, prefix, backbone.map_final_norm)
        try:
            backbone.load_state_dict(found.tensors, strict=False)
        except CheckpointError as error:
            raise CheckpointError(f'base {source}: {error}') from error
        if self.names and not self._on_meta():
            self._source_digests = self._digests.of(self._tensors())
            self.source = Base(source, prefix, backbone.map_final_norm,
                               joined(self._source_digests))
        if backbone.fit_channels == 'zero' and backbone.stem in self.names:
            print_log(
                "fit_channels='zero': the stem is frozen, so channels that "
                'the base does not have count for nothing; with \'mean\' or '
                '\'repeat\' they count',
                logger='current', level=logging.WARNING)
        left = Counter(k.split('.')[0] for k in sorted(found.left)
                       if not k.endswith(backbone.derived))
        told = ', '.join(f'{name} ({n})' for name, n in left.items())
        print_log(
            f'base {source} ({found.layout} layout): all '
            f'{len(self.required)} tensors loaded; left out: '
            f'{told or "nothing"}',
            logger='current')

    def read(self, source: str, prefix: Optional[str],
             map_final_norm: bool) -> BaseState:
        """Read a pretrained file into tensors that fit the backbone.

        Args:
            source (str): A path or URL.
            prefix (str, optional): Where the backbone is in the file.
            map_final_norm (bool): Whether a classifier's final norm becomes
                that of the last output.

        Raises:
            CheckpointError: As :meth:`load`.
        """
        content = read_checkpoint(source)
        if base := needs_base(content.get('state_dict')):
            raise CheckpointError(
                f'base {source} is a delta checkpoint, itself without its '
                f'base {base.source}: name that one in init_cfg, and the '
                'delta in load_from')
        state = unwrap(content, source)
        try:
            return self._fitted(state, prefix, map_final_norm)
        except CheckpointError as error:
            raise CheckpointError(f'base {source}: {error}') from error

    def _fitted(self, state: Dict[str, Tensor], prefix: Optional[str],
                map_final_norm: bool) -> BaseState:
        backbone, own = self.backbone, self.backbone.state_dict()
        found = base_state(state, prefix, backbone.tuner.foreign_names,
                           backbone.layouts)
        placed, left = backbone.place(found.tensors, map_final_norm)
        # Output norms start as norms do; the file may know better.
        tensors = {k: torch.full(own[k].shape, float(k.endswith('weight')))
                   for k in self.optional}
        lines = set()
        odd = odd_values(own, placed)
        for name, value in placed.items():
            if name.endswith(backbone.derived):
                continue
            if name in own and not odd:
                if name == backbone.stem:
                    value = fit_stem(value, backbone.in_channels,
                                     backbone.fit_channels)
                value, line = backbone.fit(name, value, own[name])
                lines.add(line)
            tensors[name] = value
        misfit = compare({k: own[k] for k in own if k not in self.computed},
                         tensors, backbone.delta_names)
        if misfit.missing or misfit.unexpected:
            raise CheckpointError(
                f'it does not fit {type(backbone).__name__}: {misfit}. Check '
                'that `arch` is the one of the file, and that its layout is '
                "OpenMMLab's" + ''.join(
                    f' or {one.name}' for one in backbone.layouts))
        if odd:
            raise CheckpointError(f'it is no base: {some(odd)}')
        for line in sorted(filter(None, lines)):
            print_log(line, logger='current', level=logging.WARNING)
        return BaseState(tensors, found.layout, (*left, *found.left))

    def require(self) -> None:
        """Stop, or warn, before a frozen base without weights is used.

        Raises:
            RuntimeError: In training, or inside a Runner.
        """
        backbone = self.backbone
        if self.loaded or backbone.allow_random_base or not self.names:
            return
        message = (
            f'{type(backbone).__name__}: the frozen base was never loaded and '
            "would stay random for ever. Name its file in init_cfg=dict("
            "type='Pretrained', checkpoint=...) or load a checkpoint; "
            'allow_random_base=True if random is what you want')
        # A Runner's scores would be taken for results.
        if backbone.training or inside_runner():
            raise RuntimeError(message)
        if not self._warned:
            self._warned = True
            warnings.warn(message, stacklevel=3)

    def record(self, stored: Tuple[str, ...], complete: bool) -> Record:
        """Make the record for a checkpoint.

        Args:
            stored (tuple[str, ...]): See :class:`Record`.
            complete (bool): Whether the checkpoint holds the base as well.
        """
        return Record(
            describe_tuner(self.backbone.tuner), self.backbone.facts(),
            None if complete else self.source, stored)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Parameters are replaced by others of the same values within it."""
        digests = self._digests.of(self._tensors()) if self.loaded else {}
        yield
        if digests:
            self._digests.note(self._tensors(), digests)

    def refillable(self) -> FrozenSet[str]:
        """The tensors that are bit for bit those of the recorded base.

        Anything that came to train later, or was written to, is not.
        """
        if self.source is None:
            return frozenset()
        own = self._tensors()
        return frozenset(
            n for n, digest in self._digests.of(own).items()
            if digest == self._source_digests[n] and not own[n].requires_grad)

    def check(self, record: Record) -> None:
        """Compare a record with the backbone and its tuner.

        Raises:
            CheckpointError: If they would not compute the same; the message
                names every difference.
        """
        backbone = self.backbone
        found = tuner_differences(record.tuner, backbone.tuner) + differences(
            record.backbone, backbone.facts())
        if found:
            raise CheckpointError(
                'it was trained with another tuner or backbone than '
                f'{type(backbone).__name__} has here: {"; ".join(found)}' +
                remedy(record, backbone))

    def check_somewhere(self, record: Record) -> None:
        """Refuse a record whose base has no file and no URL, unread.

        Raises:
            CheckpointError: If there is none; it lists the places.
        """
        if record.base and not any(
                '://' in source or osp.isfile(osp.expanduser(source))
                for source, _ in candidates(record.base,
                                            self.backbone.init_cfg)):
            self.find(record.base)

    def has(self, base: Base) -> bool:
        """Whether the frozen tensors in place are those of this base."""
        if not self.loaded or self._on_meta():
            return False
        now = self._digests.of(self._tensors())
        if joined(now) != base.sha256:
            return False
        if self.source is None or self.source.sha256 != base.sha256:
            self.source, self._source_digests = base, now
        return True

    def find(self, base: Base) -> Dict[str, Tensor]:
        """Read a base, from wherever it is: all its tensors, by our names.

        Raises:
            CheckpointError: If it is nowhere; the message says what was
                looked at.
        """
        return self._search(base)[1]

    def _search(self, base: Base) -> Tuple[Place, dict, dict]:
        """Where a base is, its tensors, and the frozen ones' digests."""
        looked: List[str] = []
        init_cfg = self.backbone.init_cfg
        for place in candidates(base, init_cfg):
            new = is_url(place[0]) and cached(place[0]) is None
            try:
                check_address(place[0], init_cfg)
                tensors = self.read(*place, base.map_final_norm).tensors
            except CheckpointError as error:
                looked.append(str(error))
                continue
            digests = base_digests({n: tensors[n] for n in self.names})
            if joined(digests) == base.sha256:
                return place, tensors, digests
            if new:
                forget(place[0])
            looked.append(f'{place[0]}: holds another base (sha256 '
                          f'{joined(digests)[:12]})')
        lines = ''.join(f'\n- {line}' for line in looked)
        raise CheckpointError(
            f'it needs the frozen base {base.source!r} (sha256 '
            f'{base.sha256[:12]}), which is not in it. Neither the model nor '
            f'any of these places has it:{lines}\nPut the file there, set the '
            'environment variable MONA_MM_BASES to the folder that has it, '
            'or name it in the backbone\'s init_cfg')

    def before_load(self, state_dict: Dict[str, Tensor], prefix: str,
                    metadata: Mapping[str, Any]) -> None:
        """Complete a delta checkpoint, or refuse it.

        This comes before all hooks: those of the library expect state dicts
        that are complete.

        Args:
            state_dict (dict[str, Tensor]): Of the whole model; the frozen
                tensors that it left out are put in.
            prefix (str): What the backbone's keys begin with.
            metadata (Mapping): The backbone's, with the record in it.

        Raises:
            CheckpointError: If it is of another tuner or backbone, damaged,
                or needs a base that is nowhere.
        """
        self._refilled = frozenset()
        self._record = record = read_record(metadata)
        given = below(state_dict, prefix)
        if record is not None:
            try:
                self.check(record)
                self._check_stored(record, given, prefix)
                self._refill(record.base, state_dict, prefix)
            except CheckpointError as error:
                raise CheckpointError(
                    f'{source_of(record)}: {error}') from error
        own = self._tensors()
        self._digests.note_rounding(own, {
            n: state_dict[prefix + n] for n in own if prefix + n in state_dict
        })

    def _check_stored(self, record: Record, given: Dict[str, Tensor],
                      prefix: str) -> None:
        given = {k: v for k, v in given.items()
                 if not k.endswith(self.backbone.derived)}
        misfit = compare(
            self.backbone.state_dict(), given,
            self.computed | (self.names if record.base else frozenset()))
        if misfit.missing:
            raise CheckpointError(f'{len(misfit.missing)} tensors are missing '
                                  f'in it: {some(misfit.missing)}')
        self._check_shapes(misfit.shapes, given)
        if state_digest(given) not in record.stored:
            raise CheckpointError(
                f'the tensors under {prefix!r} are not the ones that were '
                'saved: the file is damaged or was changed')

    def _refill(self, base: Optional[Base], state_dict: Dict[str, Tensor],
                prefix: str) -> None:
        """Put the frozen tensors into a state dict that left them out."""
        lacking = frozenset(
            n for n in self.names if base and prefix + n not in state_dict)
        if not lacking:
            return
        if self.has(base):
            tensors: Mapping[str, Tensor] = self._tensors()
        else:
            place, tensors, self._source_digests = self._search(base)
            self.source = base._replace(source=place[0], prefix=place[1])
            print_log(f'frozen base refilled from {place[0]} (sha256 '
                      f'{base.sha256[:12]})', logger='current')
        state_dict.update((prefix + n, tensors[n]) for n in lacking)
        self._refilled = lacking

    def _guard(self, backbone: nn.Module, state_dict: Dict[str, Tensor],
               prefix: str, *args: Any) -> None:
        """Refuse a state dict that would leave the base half loaded."""
        given = below(state_dict, prefix)
        if not given:
            raise CheckpointError(
                'nothing in the checkpoint belongs to '
                f'{type(backbone).__name__}: no key starts with {prefix!r}. '
                'To start from a pretrained backbone file, name it in the '
                "backbone's init_cfg=dict(type='Pretrained', checkpoint=...)")
        for name, buffer in backbone.named_buffers():
            if name in self.computed:
                state_dict.setdefault(prefix + name, buffer)
        misfit = compare(backbone.state_dict(), given,
                         self.computed | self.optional)
        self._check_shapes(misfit.shapes, given)
        own = {} if self._on_meta() else self._tensors()
        if odd := odd_values(own, given):
            raise CheckpointError('the frozen base in the checkpoint is none: '
                                  f'{some(odd)}')
        self._brings_delta = not backbone.delta_names.isdisjoint(given)
        delta = sorted(backbone.delta_names & set(misfit.missing))
        if delta and len(delta) < len(backbone.delta_names):
            raise CheckpointError(
                'the checkpoint holds only a part of what '
                f'{type(backbone.tuner).__name__} inserts: {len(delta)} '
                f'tensors missing ({some(delta)})')
        if missing := sorted(self.required & set(misfit.missing)):
            raise CheckpointError(self._lacks_base(missing, given))
        if self.source is not None and not (
                self._record and self._record.base) and not all(
                    torch.equal(given[n].to(t), t)
                    for n, t in own.items() if n in given):
            self.source, self._source_digests = None, {}  # another base
        self.loaded = True

    def _check_shapes(self, wrong: List[str],
                      given: Mapping[str, Tensor]) -> None:
        if not wrong:
            return
        stem = self.backbone.stem
        own, file = self.backbone.state_dict().get(stem), given.get(stem)
        channels = None not in (own, file) and (
            file.shape[1:2] != own.shape[1:2])
        raise CheckpointError(
            f'{len(wrong)} tensors do not fit {type(self.backbone).__name__}: '
            f'{some(wrong)}; check {"in_channels and " * channels}arch, and '
            "the tuner's arguments")

    def _lacks_base(self, missing: List[str],
                    given: Mapping[str, Tensor]) -> str:
        backbone = self.backbone
        lost = f'{len(missing)} tensors missing ({some(missing)})'
        if backbone.delta_names & set(given):
            return (
                f'the checkpoint holds what {type(backbone.tuner).__name__} '
                'inserts, but neither the frozen base nor the record of it: '
                f'{lost}. The record is in the state dict\'s _metadata, '
                'which a copy into a mere dict loses: load the file as it '
                'was saved')
        much = 'only a part of' if len(missing) < len(self.required) else 'no'
        there = sorted(set(given) - self.computed)
        return (f'the checkpoint holds {much} {type(backbone).__name__}: '
                f'{lost}; it has {some(there, 4)}')

    def _after_load(self, *args: Any) -> None:
        # What was verified on its way in need not be hashed at the next save.
        self._digests.note(self._tensors(), {
            n: self._source_digests[n] for n in self._refilled
        })
        if not self._brings_delta:
            self.backbone.tell_loaded()

    def _tensors(self) -> Dict[str, nn.Parameter]:
        return {n: p for n, p in self.backbone.named_parameters()
                if n in self.names}

    def _on_meta(self) -> bool:
        return any(p.is_meta for p in self.backbone.parameters())
