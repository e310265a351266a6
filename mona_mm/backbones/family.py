"""What the classes of all families take beside the library's arguments."""
from typing import Optional, Sequence, Union

import torch
from torch.overrides import TorchFunctionMode

from .channels import check_how
from .tuned import TunedBackbone


class TunedFamily(TunedBackbone):
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
            tuner (dict, optional): The tuning method; None: ``Full``.
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
        self.attach(tuner or dict(type='Full'), keep_frozen)
        self.store_base(base_dtype)
        self.line_by_line = line_by_line
        for slot in self.block_slots():
            slot.container[slot.index].skip_dropped = skip_dropped

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

    def init_weights(self) -> None:
        """Initialise the base; what the tuner inserted stays as it is.

        The libraries initialise by kind of layer, and would take inserted
        layers for their own.
        """
        kept = {n: p.detach().clone()
                for n, p in self.delta_parameters().items()}
        super().init_weights()
        if not self.base_loaded:
            with torch.no_grad():
                for name, param in self.delta_parameters().items():
                    param.copy_(kept[name])

    def train(self, mode: bool = True) -> 'TunedFamily':
        """Set the mode and return self, as PyTorch does."""
        super().train(mode)
        return self


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
