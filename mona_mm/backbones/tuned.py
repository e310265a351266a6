"""What every tuned backbone shares: attach a tuner, freeze, account."""
from inspect import signature
from typing import (
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor, nn

from mona_mm.checkpoint.candidates import pretrained_cfg
from mona_mm.checkpoint.record import Base
from mona_mm.config import backbone_of, class_of, name_of
from mona_mm.errors import ConfigError
from mona_mm.ops.frozen import LINEAR_TYPES, MixedLinear
from mona_mm.registry import MODELS as OURS
from mona_mm.text import some
from mona_mm.tuners import Facts, Tuner, build_tuner

from .frozen import FrozenBase
from .said import Family, Slot
from .sites import TunedBlock


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


class TunedBackbone(Family):
    """Mixin for a backbone class: the tuner's side of it.

    What a family has to say is in :class:`~mona_mm.backbones.said.Family`. It
    calls :meth:`attach` at the end of its ``__init__``; that is early enough
    for distributed wrappers: they see the frozen parameters as frozen. Its
    ``forward`` calls ``self.frozen.require()`` first; one that offers
    ``'side'`` runs in :meth:`beside`.

    Attributes:
        tuner (Tuner): The method.
        delta_names (frozenset[str]): Names of all that it inserted.
        frozen (FrozenBase): The pretrained weights under it.

    Raises:
        TypeError: If an argument is none of the class's or the library's.
    """

    def __init__(self, *args, **kwargs) -> None:
        cls = type(self)
        taken = {
            name for base in cls.__mro__ if base is not object
            for name, p in signature(base.__init__).parameters.items()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        taken -= {'self', 'frozen_stages'}
        unknown = [name for name in kwargs if name not in taken]
        if unknown:
            words = {w for arch in getattr(self, 'arch_zoo', {}).values()
                     for w in arch}
            hint = f'; arch=dict(...) takes {some(sorted(words))}' \
                if words.intersection(unknown) else ''
            raise TypeError(
                f'{cls.__name__}: unknown argument {", ".join(unknown)}; it '
                f'takes {", ".join(sorted(taken))}{hint}')
        super().__init__(*args, **kwargs)

    @property
    def base_loaded(self) -> bool:
        """Whether the pretrained weights are there."""
        return self.frozen.loaded

    @property
    def base(self) -> Optional[Base]:
        """The base that was loaded and where from; none if unknown."""
        return self.frozen.source

    def init_weights(self) -> None:
        """Initialise, or load the base that ``init_cfg`` names.

        A base that has been loaded already is left as it is.
        """
        pretrained = pretrained_cfg(self.init_cfg)
        first = not self._is_init
        if self.frozen.loaded:
            self._is_init = True  # for mmengine
        elif pretrained is not None:
            self.load_base(pretrained['checkpoint'], pretrained.get('prefix'))
            self._is_init = True
        else:
            super().init_weights()
            if first:  # a random base is one, too
                self.tell_loaded()

    def train(self, mode: bool = True) -> 'TunedBackbone':
        """Set the mode and return self, as PyTorch does; not all libraries."""
        super().train(mode)
        return self

    def load_base(self, source: str, prefix: Optional[str] = None) -> None:
        """Load the pretrained weights from a file.

        It may be in OpenMMLab's layout or one of :attr:`layouts`, bare or
        under ``state_dict`` or ``model``, with or without ``backbone.``.
        Left out are heads, the classifier's final norm (unless
        ``map_final_norm``), and with it the output norms, which keep weight
        1 and bias 0 as published.

        Args:
            source (str): A path or URL.
            prefix (str, optional): Where the backbone is in the file.

        Raises:
            CheckpointError: If a tensor is missing, unexpected or of another
                shape; the message names them.
        """
        self.frozen.load(source, prefix)

    def tell_loaded(self) -> None:
        """Tell the tuner that the base is there, and no delta with it."""
        with torch.no_grad():
            for name in self._made:
                self.tuner.loaded(self.get_submodule(name))

    def _load_from_state_dict(self, state_dict, prefix, local_metadata,
                              *args) -> None:
        self.frozen.before_load(state_dict, prefix, local_metadata)
        super()._load_from_state_dict(state_dict, prefix, local_metadata,
                                      *args)

    def attach(self, tuner, keep_frozen: Sequence[str] = ()) -> None:
        """Insert the tuner's modules and freeze what it does not train.

        Args:
            tuner (dict | Tuner): A tuner or its config.
            keep_frozen (Sequence[str]): Pretrained parameters whose names
                start with one of these are frozen, whatever the tuner says,
                and the modules there are not wrapped. Defaults to ().

        Raises:
            ValueError: If the tuner asks for a site that is not offered, or
                inserts and trains nothing, or no pretrained parameter is
                named as ``keep_frozen`` says.
            RuntimeError: If the tuner renames or drops a pretrained tensor.
        """
        tuner = build_tuner(tuner)
        if unknown := lacking(self, tuner):
            raise ValueError(
                f'{type(tuner).__name__} asks for the sites '
                f'{list(tuner.sites)}, but the blocks of '
                f'{type(self).__name__} offer {list(self.sites)}: '
                f'{unknown} cannot be served')
        pretrained, before = set(self.state_dict()), list(self.modules())
        slots: List[Slot] = list(self.block_slots())
        size = getattr(self, 'patch_size', None)
        if size is None:  # the family does not say: its stem's stride
            size = self.get_submodule(self.stem.rpartition('.')[0]).stride
        tuner.start(Facts(
            len(slots), size if isinstance(size, int) else size[0],
            self.norms))
        for slot in slots:
            block = slot.container[slot.index]
            slot.container[slot.index] = self.tune_block(block, tuner)
        if type(tuner).wrap is not Tuner.wrap:
            self._wrap(tuner, before, keep_frozen)
        if 'side' in tuner.sites:
            self.add_module('side', tuner.side(self))
        present = set(self.state_dict())
        if lost := sorted(pretrained - present):
            raise RuntimeError(
                f'{type(tuner).__name__} drops or renames pretrained tensors '
                f'of {type(self).__name__}: {some(lost)}')
        self.tuner = tuner
        self.delta_names = frozenset(present - pretrained)
        self._made = tuple(self._find_made(before))
        for name, param in self.named_parameters():
            owner = self.get_submodule(name.rpartition('.')[0])
            from_end = next(
                (i for i, slot in enumerate(reversed(slots))
                 if name.startswith(f'{slot.path}.')), None)
            param.requires_grad_(
                name in self.delta_names
                or tuner.trains(name, param, owner, from_end))
        if not (self.delta_names or tuner.may_do_nothing
                or any(p.requires_grad for p in self.parameters())):
            raise ValueError(
                f'{type(tuner).__name__} inserts nothing into '
                f'{type(self).__name__} and trains none of its pretrained '
                'parameters, so there is nothing to learn; if that is meant, '
                'use Fixed, or set may_do_nothing in the tuner')
        self._keep_frozen(keep_frozen)
        self.frozen = FrozenBase(self)
        share = self.share()
        print_log(
            f'{type(self).__name__} with {type(tuner).__name__}: '
            f'{share.frozen:,} parameters frozen, {share.released:,} '
            f'pretrained and trained, {share.inserted:,} inserted; '
            f'{share.ratio:.2%} train',
            logger='current')

    def beside(self, images: Tensor, run: Callable) -> Tuple[Tensor, ...]:
        """Run the backbone, and the tuner's side network if it has one.

        Args:
            images (Tensor): (B, 3, H, W).
            run (Callable): The forward pass of the library's class.

        Returns:
            tuple[Tensor, ...]: The maps of the side network, or of ``run``.
        """
        side = self._modules.get('side')
        if side is None:
            return run(images)
        wants = getattr(side, 'wants', None)
        blocks = [m for m in self.modules() if isinstance(m, TunedBlock)]
        heard = [b for i, b in enumerate(blocks)
                 if wants is None or i in wants]
        outputs: list = []
        for block in heard:
            block.outputs = outputs
        try:
            run(images)
        finally:
            for block in heard:
                block.outputs = None
        return side(images, outputs)

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
               if n in self.frozen.names}
        for module in self.modules() if dtype else ():
            if type(module) in LINEAR_TYPES:  # the same, but for what it takes
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

    def _wrap(self, tuner: Tuner, before: List[nn.Module],
              keep: Sequence[str]) -> None:
        """Let the tuner replace what is outside of the blocks' sites."""
        keep = (keep, ) if isinstance(keep, str) else tuple(keep)
        own = {id(m) for m in before}
        for block in self.modules():
            if isinstance(block, TunedBlock):
                own -= {id(m) for m in block.modules()
                        if not isinstance(m, self.norms)}
        kinds = (*self.norms, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
        for name, module in list(self.named_modules()):
            if (id(module) in own and isinstance(module, kinds)
                    and not f'{name}.'.startswith(keep)):
                parent, _, last = name.rpartition('.')
                setattr(self.get_submodule(parent), last,
                        tuner.wrap(name, module))

    def _find_made(self, before: Iterable[nn.Module]) -> Iterator[str]:
        """Names of the modules that the tuner made.

        They are the outermost new ones that hold something inserted and
        nothing that was there before; blocks are rebuilt by the family.
        """
        old = {id(m) for m in before}
        outer = None
        for name, module in self.named_modules():
            if outer is not None and name.startswith(outer):
                continue
            if any(id(m) in old for m in module.modules()):
                continue
            if any(f'{name}.{k}' in self.delta_names
                   for k in module.state_dict()):
                outer = name + '.'
                yield name

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


def lacking(family, tuner: Tuner) -> List[str]:
    """The sites that a tuner asks for and a family's blocks do not offer.

    Args:
        family (type | TunedBackbone): A class, or a backbone.
        tuner (Tuner): The method.
    """
    return [site for site in tuner.sites if site not in family.sites
            and family.twins.get(site) not in tuner.sites]


def tuned_types() -> str:
    """The types of all tuned backbones, for a message."""
    OURS.import_from_location()
    found = [f'mona_mm.{name}' for name, cls in OURS.module_dict.items()
             if isinstance(cls, type) and issubclass(cls, TunedBackbone)]
    return ', '.join(sorted(found))


def require_tuned(cfg: Config, who: str) -> type:
    """The class of a config's backbone, which has to take a tuner.

    Args:
        cfg (Config): The config.
        who (str): What asks for it, for the error.

    Raises:
        ConfigError: If it takes none.
    """
    backbone = backbone_of(cfg)
    cls = tuned_class(backbone, cfg.get('default_scope'))
    if cls is None:
        raise ConfigError(
            f'{who}: the backbone {name_of(backbone.get("type"))!r} takes no '
            f'tuner; expected one of {tuned_types()}')
    return cls


def tuned_class(backbone: dict, scope: Optional[str] = None) -> Optional[type]:
    """The class of a config's backbone that takes a tuner; else None.

    Args:
        backbone (dict): The backbone's config.
        scope (str, optional): The config's ``default_scope``.
    """
    cls = class_of(backbone.get('type'), MODELS, scope)
    tuned = isinstance(cls, type) and issubclass(cls, TunedBackbone)
    return cls if tuned else None
