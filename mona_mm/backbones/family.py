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
    """Mixin: a library's backbone class, with the arguments of ours.

    A family's ``__init__`` calls the library's and then :meth:`tune`.
    """

    def tune(self,
             tuner: Optional[dict],
             keep_frozen: Sequence[str],
             line_by_line: bool,
             skip_dropped: Union[bool, str],
             in_channels: int,
             fit_channels: Optional[str],
             base_dtype: Optional[str],
             allow_random_base: bool,
             map_final_norm: bool) -> None:
        """Attach the tuner, and set what the arguments say.

        Args:
            tuner (dict, optional): The tuning method; by default
                :attr:`default_tuner`.
            keep_frozen (Sequence[str]): See :meth:`attach`.
            line_by_line (bool): Run everything as it is written.
            skip_dropped (bool | str): Leave out what drop-path zeroes;
                ``'auto'``: on a CPU.
            in_channels (int): Of the images.
            fit_channels (str, optional): See
                :func:`~mona_mm.backbones.channels.fit_stem`.
            base_dtype (str, optional): See :meth:`store_base`.
            allow_random_base (bool): Accept a frozen base without weights.
            map_final_norm (bool): Load a classifier's final norm into the
                last output norm.

        Raises:
            ValueError: If one of them is none of its values.
        """
        name = type(self).__name__
        check_how(name, fit_channels)
        if skip_dropped not in (True, False, 'auto'):
            raise ValueError(f'{name}: skip_dropped must be True, False or '
                             f"'auto', but got {skip_dropped!r}")
        self.in_channels, self.fit_channels = in_channels, fit_channels
        self.allow_random_base = allow_random_base
        self.map_final_norm = map_final_norm
        tuner = build_tuner(tuner or self.default_tuner)
        if isinstance(keep_frozen, str):
            keep_frozen = [keep_frozen]
        self.attach(tuner, (*keep_frozen, *self.unused(tuner)))
        self.store_base(base_dtype)
        self.line_by_line = line_by_line
        for slot in self.block_slots():
            slot.container[slot.index].skip_dropped = skip_dropped

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


def arch_arguments(arch: Mapping[str, Any],
                   zoo: Mapping[str, Mapping]) -> Dict[str, Any]:
    """A config's argument for an arch: by its name if it has one.

    Args:
        arch (Mapping): What it is made of.
        zoo (Mapping[str, Mapping]): The library's by name; one letter is
            short for another name.
    """
    names = [name for name, known in zoo.items()
             if len(name) > 1 and arch.items() <= known.items()]
    return {'arch': names[0]} if names else {
        f'arch.{k}': v for k, v in arch.items()}


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


def unusual(**given: Any) -> Dict[str, Any]:
    """Of a family's facts only what is unusual, so that the others fit.

    Args:
        **given: (value, usual value) by name.
    """
    return {k: v for k, (v, usual) in given.items() if v != usual}


def refuse_frozen_stages(owner: str, kwargs: dict, none: int) -> None:
    """Refuse ``frozen_stages`` other than the value for none.

    Raises:
        ValueError: If it is given.
    """
    if kwargs.pop('frozen_stages', none) != none:
        raise ValueError(
            f'{owner}: frozen_stages is not supported, because it would '
            'freeze inserted modules as well; the tuner decides what trains')


class LinspaceOnCPU(TorchFunctionMode):
    """Let a library read its drop-path rates on the meta device."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)
