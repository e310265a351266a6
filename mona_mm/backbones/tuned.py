"""What every tuned backbone shares: attach a tuner, freeze, account."""
from typing import Dict, Iterator, NamedTuple, Optional, Sequence, Tuple

import torch
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import nn

from mona_mm.config import class_of
from mona_mm.ops.frozen import PLAIN, MixedLinear
from mona_mm.text import some
from mona_mm.tuners import Tuner, build_tuner

from .pretrained import PretrainedBase


class Share(NamedTuple):
    """Parameter counts of a tuned backbone.

    Attributes:
        frozen (int): Pretrained and frozen.
        released (int): Pretrained and trained.
        inserted (int): Inserted by the tuner (all of them train).
    """
    frozen: int
    released: int
    inserted: int

    @property
    def trained(self) -> int:
        """All that train."""
        return self.released + self.inserted

    @property
    def ratio(self) -> float:
        """Trained over all, inserted ones included (the paper's share)."""
        return self.trained / (self.trained + self.frozen)


class Slot(NamedTuple):
    """Where one block of a backbone sits.

    Attributes:
        path (str): Name of the block within the backbone.
        container (nn.ModuleList): The list that holds it.
        index (int): Its index there.
    """
    path: str
    container: nn.ModuleList
    index: int


class TunedBackbone(PretrainedBase):
    """Mixin for a backbone class: the tuner's side of it.

    A family names the :attr:`sites` that its blocks offer, lists its blocks
    in :meth:`block_slots`, rebuilds one in :meth:`tune_block`, and calls
    :meth:`attach` at the end of its ``__init__``. That is early enough for
    distributed wrappers: they see the frozen parameters as frozen.
    """

    #: Sites that the family's blocks offer.
    sites: Tuple[str, ...] = ()

    #: Arguments that change nothing of what a run computes, or of which the
    #: outcome is compared (the base): a resumed run may have others, and in
    #: reports they are no deviation.
    free: Tuple[str, ...] = ('allow_random_base', 'init_cfg', 'line_by_line',
                             'skip_dropped', 'with_cp')

    def block_slots(self) -> Iterator[Slot]:
        """The blocks in order, from input to output."""
        raise NotImplementedError

    def tune_block(self, block: nn.Module, tuner: Tuner) -> nn.Module:
        """Rebuild a block from its own children under the same names."""
        raise NotImplementedError

    def attach(self, tuner, keep_frozen: Sequence[str] = ()) -> None:
        """Insert the tuner's modules and freeze what it does not train.

        Args:
            tuner (dict | Tuner): A tuner or its config.
            keep_frozen (Sequence[str]): Pretrained parameters whose names
                start with one of these are frozen, whatever the tuner says.
                Defaults to ().

        Raises:
            ValueError: If the tuner asks for a site that is not offered, or
                no pretrained parameter is named as ``keep_frozen`` says.
            RuntimeError: If the tuner renames or drops a pretrained tensor.
        """
        tuner = build_tuner(tuner)
        self._check_sites(tuner)
        pretrained = set(self.state_dict())
        slots = list(self.block_slots())
        for slot in slots:
            block = slot.container[slot.index]
            slot.container[slot.index] = self.tune_block(block, tuner)
        present = set(self.state_dict())
        if lost := sorted(pretrained - present):
            raise RuntimeError(
                f'{type(tuner).__name__} drops or renames pretrained tensors '
                f'of {type(self).__name__}: {some(lost)}')
        self.tuner = tuner
        self.delta_names = frozenset(present - pretrained)
        self._freeze(tuner, [slot.path + '.' for slot in slots])
        self._keep_frozen(keep_frozen)
        self._guard_base()
        print_log(self._report(), logger='current')

    def store_base(self, dtype: Optional[str]) -> None:
        """Keep the frozen linear layers in a shorter dtype only.

        Under autocast to that dtype nothing else changes: it would cast them
        anyway. Norms, tables and whatever trains keep theirs, and records
        know the base by what was loaded.

        Args:
            dtype (str, optional): ``'bfloat16'``, or None to leave it.

        Raises:
            ValueError: If it is neither.
        """
        if dtype not in (None, 'bfloat16'):
            raise ValueError(f'{type(self).__name__}: base_dtype must be '
                             f"'bfloat16' or None, but got {dtype!r}")
        own = {id(p) for n, p in self.named_parameters()
               if n in self.frozen_names}
        for module in self.modules() if dtype else ():
            if type(module) in PLAIN:  # the same, but for what it takes
                module.__class__ = MixedLinear
            if not isinstance(module, MixedLinear):
                continue
            for param in module.parameters(recurse=False):
                if id(param) in own:
                    param.data = param.data.to(getattr(torch, dtype))

    def delta_parameters(self) -> Dict[str, nn.Parameter]:
        """The parameters that the tuner inserted, by name."""
        return {
            n: p
            for n, p in self.named_parameters() if n in self.delta_names
        }

    def base_parameters(self) -> Dict[str, nn.Parameter]:
        """The parameters of the plain backbone, by name."""
        return {
            n: p
            for n, p in self.named_parameters() if n not in self.delta_names
        }

    def share(self) -> Share:
        """Count frozen, pretrained-and-trained and inserted parameters."""
        base = self.base_parameters().values()
        return Share(
            sum(p.numel() for p in base if not p.requires_grad),
            sum(p.numel() for p in base if p.requires_grad),
            sum(p.numel() for p in self.delta_parameters().values()))

    def _check_sites(self, tuner: Tuner) -> None:
        unknown = [s for s in tuner.sites if s not in self.sites]
        if unknown:
            raise ValueError(
                f'{type(tuner).__name__} asks for the sites '
                f'{list(tuner.sites)}, but the blocks of '
                f'{type(self).__name__} offer {list(self.sites)}: '
                f'{unknown} cannot be served')

    def _freeze(self, tuner: Tuner, paths) -> None:
        for name, param in self.named_parameters():
            param.requires_grad_(
                name in self.delta_names
                or tuner.trains(name, param, _from_end(name, paths)))

    def _keep_frozen(self, starts: Sequence[str]) -> None:
        base = self.base_parameters()
        for start in [starts] if isinstance(starts, str) else starts:
            found = [n for n in base if n.startswith(start)]
            if not found:
                tops = sorted({n.split('.')[0] for n in base})
                raise ValueError(
                    f'keep_frozen: no pretrained parameter of '
                    f'{type(self).__name__} starts with {start!r}; the first '
                    f'parts of their names are {", ".join(tops)}')
            for name in found:
                base[name].requires_grad_(False)

    def _report(self) -> str:
        share = self.share()
        return (f'{type(self).__name__} with {type(self.tuner).__name__}: '
                f'{share.frozen:,} parameters frozen, {share.released:,} '
                f'pretrained and trained, {share.inserted:,} inserted; '
                f'{share.ratio:.2%} train')


def _from_end(name: str, paths) -> Optional[int]:
    for i, path in enumerate(reversed(paths)):
        if name.startswith(path):
            return i
    return None


def tuned_class(backbone: dict, scope: Optional[str] = None) -> Optional[type]:
    """The class of a config's backbone that takes a tuner; else None.

    Args:
        backbone (dict): The backbone's config.
        scope (str, optional): The config's ``default_scope``.
    """
    cls = class_of(backbone.get('type'), MODELS, scope)
    tuned = isinstance(cls, type) and issubclass(cls, TunedBackbone)
    return cls if tuned else None
