"""A base that is known by its content: left out of files, put back later."""
import os.path as osp
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

import torch
from mmengine.logging import print_log
from torch import Tensor

from mona_mm.checkpoint.cache import cached, forget, is_url
from mona_mm.checkpoint.candidates import Place, candidates, check_address
from mona_mm.checkpoint.describe import (
    describe_tuner,
    differences,
    remedy,
    tuner_differences,
)
from mona_mm.checkpoint.digest import (
    base_digests,
    joined,
    state_digest,
    version_of,
)
from mona_mm.checkpoint.record import Base, Record, read_record, source_of
from mona_mm.errors import CheckpointError
from mona_mm.text import some


class RecordedBase:
    """Mixin: what a backbone says to, and asks of, a delta checkpoint.

    The frozen tensors are hashed once, when the base is loaded. Afterwards
    their version counters tell which of them anything wrote to, and only
    those are hashed again.
    """

    def facts(self) -> Dict[str, Any]:
        """What the backbone computes, beyond what shapes tell."""
        return dict(family=type(self).__name__)

    def arguments(self, facts: Dict[str, Any]) -> Dict[str, Any]:
        """What of a config makes a backbone of these facts, as far as known.

        Args:
            facts (dict): Of a backbone of the same family, from a file.
        """
        return {}

    @property
    def base(self) -> Optional[Base]:
        """The base that was loaded and where from; none if unknown."""
        return self._base

    def record(self, stored: Tuple[str, ...], complete: bool) -> Record:
        """Make the record for a checkpoint.

        Args:
            stored (tuple[str, ...]): See :class:`Record`.
            complete (bool): Whether the checkpoint holds the base as well.
        """
        return Record(
            describe_tuner(self.tuner), self.facts(),
            None if complete else self._base, stored)

    def refillable(self) -> FrozenSet[str]:
        """The tensors that are bit for bit those of the recorded base.

        Anything that came to train later, or was written to, is not.
        """
        if self._base is None:
            return frozenset()
        now = self._digests_now()
        own = dict(self.named_parameters())
        return frozenset(
            n for n in self.frozen_names
            if now[n] == self._base_digests[n] and not own[n].requires_grad)

    def computed_names(self) -> FrozenSet[str]:
        """Buffers that are computed, not learnt."""
        return frozenset(
            k for k in self.state_dict() if k.endswith(self.derived))

    def check_record(self, record: Record) -> None:
        """Compare a record with this backbone and its tuner.

        Raises:
            CheckpointError: If they would not compute the same; the message
                names every difference.
        """
        found = tuner_differences(record.tuner, self.tuner) + differences(
            record.backbone, self.facts())
        if found:
            raise CheckpointError(
                'it was trained with another tuner or backbone than '
                f'{type(self).__name__} has here: {"; ".join(found)}' +
                remedy(record, self))

    def check_base_is_somewhere(self, record: Record) -> None:
        """Refuse a record whose base has no file and no URL, unread.

        Raises:
            CheckpointError: If there is none; it lists the places.
        """
        if record.base and not any(
                '://' in source or osp.isfile(osp.expanduser(source))
                for source, _ in candidates(record.base, self.init_cfg)):
            self.find_base(record.base)

    def _watch_records(self) -> None:
        """Start; called once the tuner is attached and all is frozen."""
        self._base: Optional[Base] = None
        self._base_digests: Dict[str, str] = {}
        self._versions: Dict[str, Tuple[int, Optional[int]]] = {}
        self._digests: Dict[str, str] = {}
        self._rounded: Dict[str, Tuple[str, str]] = {}
        self.frozen_names = frozenset(
            k for k, p in self.base_parameters().items()
            if not p.requires_grad)
        handle = self._register_load_state_dict_pre_hook(self._recall)
        self._refilled: FrozenSet[str] = frozenset()
        self.register_load_state_dict_post_hook(_note_refilled)
        # The base class's hooks already expect complete state dicts.
        self._load_state_dict_pre_hooks.move_to_end(handle.id, last=False)

    def _remember_base(self, source: str, prefix: Optional[str],
                       map_final_norm: bool) -> None:
        """Note that the base in place is the content of this file."""
        if not self.frozen_names or self._on_meta():
            return
        self._base_digests = self._digests_now()
        self._base = Base(source, prefix, map_final_norm,
                          joined(self._base_digests))

    def _digests_now(self) -> Dict[str, str]:
        """Digests of the frozen tensors; only what changed is read."""
        frozen = {
            n: p
            for n, p in self.named_parameters() if n in self.frozen_names
        }
        versions = {n: (id(p), version_of(p)) for n, p in frozen.items()}
        changed = [
            n for n, version in versions.items()
            if version[1] is None or version != self._versions.get(n)
        ]
        found = base_digests({n: frozen[n] for n in changed})
        for name, digest in found.items():
            rounded, loaded = self._rounded.get(name, (None, None))
            self._digests[name] = loaded if digest == rounded else digest
        self._versions = versions
        return dict(self._digests)

    def _on_meta(self) -> bool:
        return any(p.is_meta for p in self.parameters())

    def _recall(self, state_dict, prefix: str, metadata, *args) -> None:
        """Complete a delta checkpoint, or refuse it."""
        self._refilled = frozenset()
        self._recalled = record = read_record(metadata)
        if record is not None:
            try:
                self._complete(record, state_dict, prefix)
            except CheckpointError as error:
                raise CheckpointError(
                    f'{source_of(record)}: {error}') from error
        if any(k.startswith(prefix) for k in state_dict):
            self._fill_computed(state_dict, prefix)
            self._note_rounding(state_dict, prefix)

    def _note_rounding(self, state_dict, prefix: str) -> None:
        """Remember what becomes of tensors that are stored in fewer bits.

        They are still the base that was loaded: {name: (digest of what is
        stored, digest of what was loaded)}.
        """
        own = dict(self.named_parameters())
        given = {
            n: state_dict[prefix + n]
            for n in self.frozen_names if prefix + n in state_dict
            and state_dict[prefix + n].dtype.itemsize > own[n].dtype.itemsize
        }
        stored = base_digests({n: v.to(own[n].dtype)
                               for n, v in given.items()})
        self._rounded.update(
            (n, (stored[n], loaded))
            for n, loaded in base_digests(given).items())

    def _complete(self, record: Record, state_dict, prefix: str) -> None:
        self.check_record(record)
        self._check_stored(record, state_dict, prefix)
        if record.base is not None:
            self._refill(record.base, state_dict, prefix)

    def _check_stored(self, record: Record, state_dict, prefix: str) -> None:
        given = {
            k[len(prefix):]: v
            for k, v in state_dict.items()
            if k.startswith(prefix) and not k.endswith(self.derived)
        }
        expected = set(self.state_dict()) - self.computed_names()
        if record.base is not None:
            expected -= self.frozen_names
        if missing := sorted(expected - set(given)):
            raise CheckpointError(
                f'{len(missing)} tensors are missing in it: {some(missing)}')
        self._check_shapes(state_dict, prefix)
        if state_digest(given) not in record.stored:
            raise CheckpointError(
                f'the tensors under {prefix!r} are not the ones that were '
                'saved: the file is damaged or was changed')

    def _refill(self, base: Base, state_dict, prefix: str) -> None:
        """Put the frozen tensors into a state dict that left them out."""
        lacking = sorted(
            n for n in self.frozen_names if prefix + n not in state_dict)
        if not lacking:
            return
        tensors = dict(self.named_parameters()) if self.has_base(
            base) else self._take_base(base)
        for name in lacking:
            state_dict[prefix + name] = tensors[name]
        self._refilled = frozenset(lacking)

    def has_base(self, base: Base) -> bool:
        """Whether the frozen tensors in place are those of this base."""
        if not self.base_loaded or self._on_meta():
            return False
        if joined(self._digests_now()) != base.sha256:
            return False
        if self._base is None or self._base.sha256 != base.sha256:
            self._base, self._base_digests = base, dict(self._digests)
        return True

    def _take_base(self, base: Base) -> Dict[str, Tensor]:
        place, tensors, digests = self._search(base)
        self._base = base._replace(source=place[0], prefix=place[1])
        self._base_digests = digests
        print_log(f'frozen base refilled from {place[0]} (sha256 '
                  f'{base.sha256[:12]})', logger='current')
        return tensors

    def find_base(self, base: Base) -> Dict[str, Tensor]:
        """Read a base, from wherever it is: all its tensors, by our names.

        Raises:
            CheckpointError: If it is nowhere; the message says what was
                looked at.
        """
        return self._search(base)[1]

    def _search(self, base: Base) -> Tuple[Place, dict, dict]:
        """Where a base is, its tensors, and the frozen ones' digests."""
        looked: List[str] = []
        for place in candidates(base, self.init_cfg):
            new = is_url(place[0]) and cached(place[0]) is None
            try:
                check_address(place[0], self.init_cfg)
                tensors = self._read_base(*place, base.map_final_norm).tensors
            except CheckpointError as error:
                looked.append(str(error))
                continue
            digests = base_digests(
                {n: tensors[n] for n in self.frozen_names})
            if joined(digests) == base.sha256:
                return place, tensors, digests
            if new:
                forget(place[0])
            looked.append(f'{place[0]}: holds another base (sha256 '
                          f'{joined(digests)[:12]})')
        raise CheckpointError(_not_found(base, looked))

    def _fill_computed(self, state_dict, prefix: str) -> None:
        for name, buffer in self.named_buffers():
            if name.endswith(self.derived):
                state_dict.setdefault(prefix + name, buffer)

    def _forget_other_base(self, state_dict, prefix: str) -> None:
        """Forget where the base came from if another one is loaded."""
        own = dict(self.named_parameters())
        if self._base is not None and not all(
                torch.equal(state_dict[prefix + n].to(own[n]), own[n])
                for n in self.frozen_names if prefix + n in state_dict):
            self._base, self._base_digests = None, {}


def _note_refilled(module: RecordedBase, keys: Any) -> None:
    """Spare the next save from hashing what was verified on its way in."""
    own = dict(module.named_parameters())
    for name in module._refilled:
        module._versions[name] = id(own[name]), version_of(own[name])
        module._digests[name] = module._base_digests[name]


def _not_found(base: Base, looked: List[str]) -> str:
    lines = ''.join(f'\n- {line}' for line in looked)
    return (
        f'it needs the frozen base {base.source!r} (sha256 '
        f'{base.sha256[:12]}), which is not in it. Neither the model nor any '
        f'of these places has it:{lines}\nPut the file there, set the '
        'environment variable MONA_MM_BASES to the folder that has it, or '
        'name it in the backbone\'s init_cfg')
