"""The frozen base: loaded completely and loudly, or not used at all.

A frozen backbone can never train away a tensor that did not load, so every
pretrained tensor is accounted for.
"""
import logging
import warnings
from typing import Dict, FrozenSet, List, Mapping, Optional, Sequence, Set

import torch
from mmengine.logging import MessageHub, print_log
from torch import Tensor
from torch.nn import functional as F

from mona_mm.checkpoint import BaseState, base_state, read_checkpoint, unwrap
from mona_mm.checkpoint.candidates import pretrained_cfg
from mona_mm.checkpoint.record import needs_base
from mona_mm.errors import CheckpointError
from mona_mm.text import some

from .channels import fit_stem
from .recorded import RecordedBase

_TABLE = 'relative_position_bias_table'


class PretrainedBase(RecordedBase):
    """Mixin: a base that knows whether its pretrained weights are there."""

    #: Endings of tensors that are computed, not learnt.
    derived = ('relative_position_index', 'attn_mask')
    #: The convolution that sees the pictures.
    stem = ''
    in_channels = 3
    fit_channels: Optional[str] = None
    allow_random_base = False
    map_final_norm = False

    def output_norms(self) -> Dict[int, str]:
        """Names of the norms on the outputs, by output index."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """Initialise, or load the base that ``init_cfg`` names.

        A base that has been loaded already is left as it is.
        """
        if self.base_loaded:
            self._is_init = True
            return
        pretrained = pretrained_cfg(self.init_cfg)
        if pretrained is None:
            super().init_weights()
        else:
            self.load_base(pretrained['checkpoint'], pretrained.get('prefix'))
            self._is_init = True

    def load_base(self, source: str, prefix: Optional[str] = None) -> None:
        """Load the pretrained weights from a file.

        Layouts: OpenMMLab's, Microsoft's and timm's, bare or under
        ``state_dict`` or ``model``, with or without ``backbone.``. Left out
        are heads, the classifier's final ``norm`` (unless
        ``map_final_norm``), and with it the output norms, which keep weight
        1 and bias 0 as released.

        Args:
            source (str): A path or URL.
            prefix (str, optional): Where the backbone is in the file.

        Raises:
            CheckpointError: If a tensor is missing, unexpected or of another
                shape; the message names them.
        """
        found = self._read_base(source, prefix, self.map_final_norm)
        try:
            self.load_state_dict(found.tensors, strict=False)
        except CheckpointError as error:
            raise CheckpointError(f'base {source}: {error}') from error
        self._remember_base(source, prefix, self.map_final_norm)
        if self.fit_channels == 'zero' and not self.get_parameter(
                self.stem).requires_grad:
            print_log(
                "fit_channels='zero': the stem is frozen, so channels that "
                'the base does not have count for nothing; with \'mean\' or '
                '\'repeat\' they count',
                logger='current', level=logging.WARNING)
        left = [k for k in found.left if not k.endswith(self.derived)]
        loaded = len(self._required() & set(found.tensors))
        print_log(
            f'base {source} ({found.layout} layout): all {loaded} tensors '
            f'loaded; left out: {_by_module(left) or "nothing"}',
            logger='current')

    def _read_base(self, source: str, prefix: Optional[str],
                   map_final_norm: bool) -> BaseState:
        """Read a pretrained file into tensors that fit this backbone."""
        content = read_checkpoint(source)
        if base := needs_base(content.get('state_dict')):
            raise CheckpointError(
                f'base {source} is a delta checkpoint, itself without its '
                f'base {base.source}: name that one in init_cfg, and the '
                'delta in load_from')
        content = unwrap(content, source)
        try:
            found = base_state(content, prefix, self.tuner.foreign_names)
        except CheckpointError as error:
            raise CheckpointError(f'base {source}: {error}') from error
        tensors, left = self._place_norms(found.tensors, map_final_norm)
        self._account(source, tensors)
        if self.stem in tensors:
            try:
                tensors[self.stem] = fit_stem(
                    tensors[self.stem], self.in_channels, self.fit_channels)
            except CheckpointError as error:
                raise CheckpointError(f'base {source}: {error}') from error
        if odd := self._odd_values(tensors):
            raise CheckpointError(f'base {source} is none: {some(odd)}')
        tensors = {**self._initial_norms(), **self._resized(tensors)}
        return BaseState(tensors, found.layout, (*left, *found.left))

    def _initial_norms(self) -> Dict[str, Tensor]:
        """Output norms as they start; few pretrained files hold them."""
        own = self.state_dict()
        return {
            k: torch.full(own[k].shape, float(k.endswith('weight')))
            for k in self._output_norm_names()
        }

    def _guard_base(self) -> None:
        """Start to watch what is loaded; called once all is attached."""
        self.base_loaded = False
        self._warned = False
        self._has_frozen_base = any(
            not p.requires_grad for p in self.base_parameters().values())
        self._register_load_state_dict_pre_hook(self._before_load)
        self._watch_records()

    def _base_names(self) -> Set[str]:
        return {
            k
            for k in self.state_dict()
            if k not in self.delta_names and not k.endswith(self.derived)
        }

    def _output_norm_names(self) -> FrozenSet[str]:
        norms = tuple(f'{n}.' for n in self.output_norms().values())
        return frozenset(k for k in self.state_dict() if k.startswith(norms))

    def _required(self) -> Set[str]:
        """Tensors that every pretrained file must hold."""
        return self._base_names() - self._output_norm_names()

    def _place_norms(self, tensors: Dict[str, Tensor],
                     map_final_norm: bool):
        """Decide about norms: (what to load, keys rightly left out).

        A file with one output norm alone comes from a classifier: that norm
        is its final one. Several belong to a dense model and are loaded.
        """
        last = max(self.output_norms(), default=None)
        own = f'norm{len(self.depths) - 1}.'
        norms = {k.split('.')[0] for k in tensors if k.startswith('norm')}
        final = 'norm.' if 'norm' in norms else own
        dense = len(norms - {'norm'}) > 1
        placed, left = {}, []
        for key, value in tensors.items():
            if key.startswith('head.'):
                left.append(key)
            elif not dense and key.startswith(final):
                if map_final_norm and last is not None:
                    key = key.replace(final, f'norm{last}.', 1)
                    placed[key] = value
                else:
                    left.append(key)
            else:
                placed[key] = value
        return placed, left

    def _account(self, source: str, tensors: Dict[str, Tensor]) -> None:
        known = self._base_names() | self.delta_names
        missing = sorted(self._required() - set(tensors))
        unexpected = sorted(k for k in tensors if k not in known
                            and not k.endswith(self.derived)
                            and not k.startswith('norm'))
        self._check_delta(set(tensors))
        if missing or unexpected:
            raise CheckpointError(
                f'base {source} does not fit {type(self).__name__}: '
                f'{len(missing)} tensors missing ({some(missing)}), '
                f'{len(unexpected)} unexpected ({some(unexpected)}). Check '
                'that `arch` is the one of the file, and that the file is a '
                'Swin checkpoint in OpenMMLab, Microsoft or timm layout')

    def _odd_values(self, tensors: Mapping[str, Tensor]) -> List[str]:
        """What no pretrained weight is: other kinds of tensor, and NaN.

        Copying would turn a complex or integer one into floating point
        without a word.
        """
        return [
            f'{name} {why}' for name, own in self.state_dict().items()
            if name in tensors and own.is_floating_point()
            and (why := _why_odd(tensors[name]))
        ]

    def _resized(self, tensors: Dict[str, Tensor]) -> Dict[str, Tensor]:
        """Fit bias tables of another window size, and say so.

        Computed buffers are dropped.
        """
        own = self.state_dict()
        kept = {k: v for k, v in tensors.items()
                if k in own and not k.endswith(self.derived)}
        fitted = {k: _resize_table(v, own[k]) if k.endswith(_TABLE) else v
                  for k, v in kept.items()}
        # A table has (2 * window - 1)^2 rows.
        changed = sorted({
            tuple((round(len(t)**0.5) + 1) // 2 for t in (v, fitted[k]))
            for k, v in kept.items() if v.shape != fitted[k].shape
        })
        if changed:
            print_log(
                f'{_TABLE}: interpolated from '
                + ', '.join(f'window {a} to window {b}' for a, b in changed)
                + ', because window_size is not the one that the base was '
                'trained with; set model.backbone.window_size to the first '
                'to use the tables as they are',
                logger='current',
                level=logging.WARNING)
        return fitted

    def _before_load(self, state_dict, prefix, *args) -> None:
        """Refuse a state dict that would leave the base half loaded."""
        if not any(k.startswith(prefix) for k in state_dict):
            raise CheckpointError(
                f'nothing in the checkpoint belongs to {type(self).__name__}:'
                f' no key starts with {prefix!r}. To start from a pretrained '
                'backbone file, name it in the backbone\'s init_cfg='
                "dict(type='Pretrained', checkpoint=...)")
        self._fill_computed(state_dict, prefix)
        self._check_shapes(state_dict, prefix)
        given = {k[len(prefix):] for k in state_dict if k.startswith(prefix)}
        self._check_delta(given)
        if missing := sorted(self._required() - given):
            raise CheckpointError(self._lacks_base(missing, given))
        if not (self._recalled and self._recalled.base):
            self._forget_other_base(state_dict, prefix)
        self.base_loaded = True

    def _lacks_base(self, missing: Sequence[str], given: Set[str]) -> str:
        lost = f'{len(missing)} tensors missing ({some(missing)})'
        if given & self.delta_names:
            return (
                f'the checkpoint holds what {type(self.tuner).__name__} '
                f'inserts, but neither the frozen base nor the record of it: '
                f'{lost}. The record is in the state dict\'s _metadata, '
                'which a copy into a plain dict loses: load the file as it '
                'was saved')
        part = len(missing) < len(self._required())
        return (f'the checkpoint holds {"only a part of" if part else "no"} '
                f'{type(self).__name__}: {lost}; it has '
                f'{some(sorted(given - self.computed_names()), 4)}')

    def _check_delta(self, given: Set[str]) -> None:
        """All of what the tuner inserted, or (a plain file) none of it."""
        missing = sorted(self.delta_names - given)
        if missing and len(missing) < len(self.delta_names):
            raise CheckpointError(
                f'the checkpoint holds only a part of what '
                f'{type(self.tuner).__name__} inserts: {len(missing)} '
                f'tensors missing ({some(missing)})')

    def _check_shapes(self, state_dict, prefix: str) -> None:
        wrong = []
        for name, own in self.state_dict().items():
            given = state_dict.get(prefix + name)
            if given is not None and given.shape != own.shape:
                wrong.append(f'{name} {tuple(given.shape)} instead of '
                             f'{tuple(own.shape)}')
        if wrong:
            own = self.state_dict().get(self.stem)
            given = state_dict.get(prefix + self.stem)
            other = None not in (own, given) and given.shape != own.shape
            check = 'in_channels and arch' if other and (
                given.shape[1:2] != own.shape[1:2]) else 'arch'
            raise CheckpointError(
                f'{len(wrong)} tensors do not fit {type(self).__name__}: '
                f'{some(wrong)}; check {check}, and the tuner\'s arguments')
        frozen = {
            n: state_dict[prefix + n] for n in self.frozen_names
            if prefix + n in state_dict and not self._on_meta()
        }
        if odd := self._odd_values(frozen):
            raise CheckpointError('the frozen base in the checkpoint is none: '
                                  f'{some(odd)}')

    def _require_base(self) -> None:
        """Stop, or warn, before a frozen base without weights is used."""
        if (self.base_loaded or self.allow_random_base
                or not self._has_frozen_base):
            return
        message = (
            f'{type(self).__name__}: the frozen base was never loaded and '
            "would stay random for ever. Name its file in init_cfg=dict("
            "type='Pretrained', checkpoint=...) or load a checkpoint; "
            'allow_random_base=True if random is what you want')
        if self.training or _inside_runner():
            raise RuntimeError(message)
        if not self._warned:
            self._warned = True
            warnings.warn(message, stacklevel=3)


def _resize_table(table: Tensor, own: Tensor) -> Tensor:
    """Interpolate a (side * side, heads) table to another window's side."""
    if table.shape == own.shape or table.shape[1] != own.shape[1]:
        return table
    sides = [round(t.shape[0]**0.5) for t in (table, own)]
    image = table.float().T.reshape(1, -1, sides[0], sides[0])
    image = F.interpolate(
        image, size=(sides[1], ) * 2, mode='bicubic', align_corners=False)
    return image.flatten(2)[0].T.to(table.dtype)


def _why_odd(value: Tensor) -> str:
    """Why a tensor is no weight; '' if it is one."""
    if value.is_meta or value.layout is not torch.strided:
        return 'is a meta tensor' if value.is_meta else 'is sparse'
    if value.is_quantized or not value.is_floating_point():
        return f'is {str(value.dtype).removeprefix("torch.")}'
    wide = value if value.itemsize >= 4 else value.float()
    # A sum is finite unless an element is not, or they are huge.
    if not (torch.isfinite(wide.sum()) or torch.isfinite(wide).all()):
        return 'has values that are NaN or infinite'
    return ''


def _inside_runner() -> bool:
    """Whether an mmengine Runner has announced itself in this process."""
    hub = MessageHub.get_current_instance()
    return 'experiment_name' in hub.runtime_info


def _by_module(keys) -> str:
    counts: Dict[str, int] = {}
    for key in keys:
        module = key.split('.')[0]
        counts[module] = counts.get(module, 0) + 1
    return ', '.join(f'{m} ({n})' for m, n in sorted(counts.items()))
