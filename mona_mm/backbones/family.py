"""What the classes of all families take beside the library's arguments."""
from typing import (
    Any,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
)

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from mona_mm.checkpoint.describe import defaults, plain
from mona_mm.ops.frozen import CastOnce
from mona_mm.tuners import Tuner, build_tuner

from .channels import check_how
from .tuned import TunedBackbone


class KeepsInserted:
    """Mixin before a library's class: it may not initialise what is ours.

    The libraries initialise by kind of layer, and would take inserted layers
    for their own.
    """

    def init_weights(self) -> None:
        """Initialise as the library does, but for inserted parameters."""
        own = self.delta_parameters()
        kept = {n: p.detach().clone() for n, p in own.items()}
        super().init_weights()
        with torch.no_grad():
            for name, param in own.items():
                param.copy_(kept[name])


class TunedFamily(TunedBackbone, KeepsInserted):
    """Mixin before a library's backbone class: what all families take.

    A family's ``__init__`` has the defaults that are its own, and passes
    everything on.

    Args:
        tuner (dict): The tuning method. Defaults to :attr:`default_tuner`.
        keep_frozen (Sequence[str]): Beginnings of names of pretrained
            parameters that stay frozen with every tuner. Defaults to ().
        line_by_line (bool): Run everything as it is written in the papers,
            instead of in fast, exact forms. Defaults to False.
        skip_dropped (bool | str): Do not compute the branches that drop-path
            multiplies by zero. ``'auto'``: on a CPU. ``True`` is refused on
            other devices, where it took 1.5 times as long: it draws on the
            host and makes small launches of large ones. Defaults to
            ``'auto'``.
        in_channels (int): Of the images. Defaults to 3.
        fit_channels (str, optional): How a base for another number of
            channels is fitted: ``'mean'``, ``'repeat'`` or ``'zero'``, see
            :func:`~mona_mm.backbones.channels.fit_stem`. Without it such a
            base is refused.
        base_dtype (str, optional): ``'bfloat16'`` stores the frozen linear
            layers in that dtype alone: half the memory, and the same results
            under bfloat16 autocast. Defaults to None, as loaded.
        allow_random_base (bool): Accept a frozen base without pretrained
            weights. Defaults to False.
        map_final_norm (bool): Load a classifier's final norm into the last
            output norm. The paper's code does not. Defaults to False.
        init_cfg (dict, optional): ``dict(type='Pretrained',
            checkpoint=...)``: path or URL of the base, in OpenMMLab's layout
            or one of :attr:`layouts`. By default the library's own
            initialisation.
        **kwargs: Further arguments of the library's class.

    Raises:
        ValueError: If ``frozen_stages`` is given, or the tuner asks for a
            site that the blocks do not offer, or ``keep_frozen`` names
            nothing, or an argument is none of its values.
    """

    #: What records call the family.
    family = ''
    #: The library's architectures by name.
    zoo: Mapping[str, Mapping] = {}
    #: Attributes that make an architecture, by the names that it has there.
    arch_facts: Tuple[str, ...] = ()
    #: Attributes that a checkpoint must agree with, called like arguments.
    own_facts: Tuple[str, ...] = ('out_indices', )
    #: The same of those that are recorded only where they are not as usual,
    #: so that files from before they were known fit.
    usual_facts: Dict[str, Any] = dict(in_channels=3, fit_channels=None)

    def __init__(self,
                 *,
                 tuner: Optional[dict] = None,
                 keep_frozen: Sequence[str] = (),
                 line_by_line: bool = False,
                 skip_dropped: Union[bool, str] = 'auto',
                 in_channels: int = 3,
                 fit_channels: Optional[str] = None,
                 base_dtype: Optional[str] = None,
                 allow_random_base: bool = False,
                 map_final_norm: bool = False,
                 init_cfg: Optional[dict] = None,
                 **kwargs) -> None:
        name = type(self).__name__
        none = defaults(type(self)).get('frozen_stages')
        if kwargs.pop('frozen_stages', none) != none:
            raise ValueError(
                f'{name}: frozen_stages is not supported, because it would '
                'freeze inserted modules as well; the tuner decides what '
                'trains')
        if init_cfg is not None:
            kwargs['init_cfg'] = init_cfg
        with LinspaceOnCPU():
            super().__init__(in_channels=in_channels, **kwargs)
        check_how(name, fit_channels)
        if skip_dropped not in (True, False, 'auto'):
            raise ValueError(f'{name}: skip_dropped must be True, False or '
                             f"'auto', but got {skip_dropped!r}")
        self.in_channels, self.fit_channels = in_channels, fit_channels
        self.allow_random_base = allow_random_base
        self.map_final_norm = map_final_norm
        self.prepare()
        tuner = build_tuner(tuner or self.default_tuner)
        if isinstance(keep_frozen, str):
            keep_frozen = [keep_frozen]
        self.attach(tuner, (*keep_frozen, *self.unused(tuner)))
        self.store_base(base_dtype)
        self.line_by_line = line_by_line
        for slot in self.block_slots():
            slot.container[slot.index].skip_dropped = skip_dropped

    def prepare(self) -> None:
        """Change what the library has made, before a tuner is attached."""

    def unused(self, tuner: Tuner) -> List[str]:
        """Beginnings of names of what no output depends on.

        It must not train: distributed training waits for every gradient.

        Args:
            tuner (Tuner): A side network gives other outputs.
        """
        return []

    def part_of(self, name: str) -> str:
        """``'stage 2'`` and the like, ``'output norms'``, or the first part.
        """
        parts = name.split('.')
        if len(parts) > 1 and parts[1].isdigit():
            return f'{parts[0].removesuffix("s")} {parts[1]}'
        return 'output norms' if parts[0].startswith('norm') else parts[0]

    def facts(self) -> Dict[str, Any]:
        """What a checkpoint must agree with, beyond shapes."""
        own = {k: plain(getattr(self, k)) for k in (
            *self.arch_facts, *self.own_facts, *self.usual_facts)}
        return dict(family=self.family, **{
            k: v for k, v in own.items()
            if k not in self.usual_facts or v != self.usual_facts[k]})

    def arguments(self, facts: Dict[str, Any]) -> Dict[str, Any]:
        """The arguments behind facts: an arch by its name if it has one."""
        arch = {k: facts.get(k) for k in self.arch_facts}
        # One letter is short for another name.
        names = [name for name, known in self.zoo.items()
                 if len(name) > 1 and arch.items() <= known.items()]
        return dict(
            {'arch': names[0]} if names else {
                f'arch.{k}': v for k, v in arch.items()},
            **{k: facts.get(k) for k in self.own_facts},
            **{k: facts.get(k, usual)
               for k, usual in self.usual_facts.items()})

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Extract feature maps.

        Args:
            x (Tensor): Images, (B, in_channels, H, W).

        Returns:
            tuple[Tensor, ...]: One (B, C_i, H_i, W_i) per output, of a
            hierarchical backbone with strides 4, 8, 16, 32; or the maps of
            the tuner's side network.

        Raises:
            RuntimeError: In training or inside a Runner, if the frozen base
                was never loaded.
        """
        self.frozen.require()
        return tuple(self.beside(x, super().forward))

    def cache_bytes(self) -> int:
        """Bytes of casts of frozen weights that are kept."""
        return sum(m.casts.nbytes for m in self.modules()
                   if isinstance(getattr(m, 'casts', None), CastOnce))

    @property
    def line_by_line(self) -> bool:
        """Whether everything runs as it is written in the papers."""
        return self._line_by_line

    @line_by_line.setter
    def line_by_line(self, value: bool) -> None:
        """Set it here and in every module that offers a fast form."""
        self._line_by_line = value
        for module in self.modules():
            if module is not self and hasattr(module, 'line_by_line'):
                module.line_by_line = value


class NumberedNorms:
    """Mixin: stages are output through norms that are called ``norm<i>``."""

    #: The lists that hold a part of every stage.
    stage_parts: Tuple[str, ...] = ('stages', )

    def unused(self, tuner: Tuner) -> List[str]:
        """Stages behind the last output; its norms under a side network."""
        behind = range(max(self.out_indices) + 1, len(self.depths))
        found = [f'{part}.{i}.' for i in behind for part in self.stage_parts]
        if 'side' in tuner.sites:
            found += [f'{norm}.' for norm in self.output_norms().values()]
        return found

    def output_norms(self) -> Dict[int, str]:
        """``{i: 'norm<i>'}`` of the stages that are output."""
        return {i: f'norm{i}' for i in self.out_indices}

    def place(self, tensors: Dict[str, Tensor], map_final_norm: bool
              ) -> Tuple[Dict[str, Tensor], List[str]]:
        """Leave out heads, and the norms that no output has.

        A file with one output norm alone comes from a classifier: that norm
        is its final one. Several belong to a dense model and are loaded.

        Args:
            tensors (dict[str, Tensor]): Of a file, under mm names.
            map_final_norm (bool): Whether a classifier's final norm becomes
                that of the last output.

        Returns:
            tuple[dict[str, Tensor], list[str]]: What is loaded, and the keys
            that are rightly left out.
        """
        outputs = list(self.output_norms().values())
        norms = {k.split('.')[0] for k in tensors if k.startswith('norm')}
        final = 'norm' if 'norm' in norms else f'norm{len(self.depths) - 1}'
        renames: Dict[str, Optional[str]] = {}
        if len(norms - {'norm'}) < 2:
            renames[final] = outputs[-1] if map_final_norm and outputs else (
                None)
        placed, left = {}, []
        for key, value in tensors.items():
            top, dot, rest = key.partition('.')
            top = renames.get(top, top)
            if top in (None, 'head') or (
                    top.startswith('norm') and top not in outputs):
                left.append(key)
            else:
                placed[top + dot + rest] = value
        return placed, left


def resize_grid(pos_embed: Tensor, own: Tensor, grid: Tuple[int, int],
                mode: str) -> Optional[Tensor]:
    """Fit a position embedding to another grid; None if it is none.

    Args:
        pos_embed (Tensor): (1, T + G * G, C), of a square grid, T is 0 or 1:
            the class token's stays as it is.
        own (Tensor): (1, T + H * W, C), the one to fit.
        grid (tuple[int, int]): (H, W).
        mode (str): Of interpolation.
    """
    if pos_embed.ndim != 3 or pos_embed.shape[::2] != own.shape[::2]:
        return None
    tokens = own.shape[1] - grid[0] * grid[1]
    patches = pos_embed.shape[1] - tokens
    side = round(max(patches, 0)**0.5)
    if side * side != patches or not side:
        return None
    image = pos_embed[:, tokens:].float().unflatten(1, (side, side))
    image = F.interpolate(
        image.permute(0, 3, 1, 2), size=grid, mode=mode, align_corners=False)
    found = image.flatten(2).transpose(1, 2).to(pos_embed.dtype)
    return torch.cat([pos_embed[:, :tokens], found], dim=1)


class LinspaceOnCPU(TorchFunctionMode):
    """Let a library read its drop-path rates on the meta device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)
