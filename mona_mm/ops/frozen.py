"""Frozen weights in the dtype of the products, cast once.

Autocast keeps the casts of parameters that train, and only until it ends;
frozen ones it casts in every call, which on a GPU is a kernel each.
"""
from typing import Any, Dict, Optional, Tuple

import torch
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn
from torch.nn import functional as F

from mona_mm.compat import is_watched

from .launch import interpreted
from .precision import autocasts, compute_dtype

#: Linear layers that do no more than ``F.linear``.
LINEAR_TYPES = (nn.Linear, wrappers.Linear)


def accelerated(x: Tensor) -> bool:
    """Whether forms that save kernels pay: on a GPU (or in its stand-in)."""
    return x.is_cuda or interpreted()


class Forgetful(nn.Module):
    """A module that keeps what it derived from its weights.

    It forgets that when they are loaded or moved, and when the mode changes:
    an EMA hook swaps weights behind autograd's back before it.

    Attributes:
        casts (CastOnce): Of its frozen weights.
    """

    def forget(self) -> None:
        """Forget what was derived from weights."""
        self.casts.clear()

    def train(self, mode: bool = True) -> 'Forgetful':
        """Set the mode."""
        self.forget()
        return super().train(mode)

    def _apply(self, *args, **kwargs):
        self.forget()
        return super()._apply(*args, **kwargs)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self.forget()
        super()._load_from_state_dict(*args, **kwargs)


def mixed_linear(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    """``F.linear`` for weights that may be stored in another dtype than x.

    Autocast casts them by itself; outside of it x decides. (A compiler that
    traces cannot ask whether there is autocast: only where dtypes differ.)
    """
    differ = weight.dtype != x.dtype or (
        bias is not None and bias.dtype != x.dtype)
    if differ and not autocasts(x):
        weight = weight.to(x.dtype)
        bias = None if bias is None else bias.to(x.dtype)
    return F.linear(x, weight, bias)


class MixedLinear(nn.Linear):
    """A linear layer whose weights may be stored in another dtype."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to (..., D)."""
        return mixed_linear(x, self.weight, self.bias)


class CastOnce:
    """Copies of frozen parameters in another dtype.

    A copy is made when it is asked for and made again when its parameter was
    written to, moved or replaced; a :class:`Forgetful` module owns this. A
    parameter that trains is handed back as it is.
    """

    def __init__(self) -> None:
        self._kept: Dict[int, Tuple[tuple, nn.Parameter, Tensor]] = {}

    def __call__(self, param: Optional[Tensor],
                 dtype: torch.dtype) -> Optional[Tensor]:
        """The parameter in ``dtype``."""
        if param is None or param.dtype == dtype:
            return param
        if param.requires_grad or param.is_inference():
            self._kept.pop(id(param), None)
            return param
        state = (param.data_ptr(), param._version, param.device, dtype)
        kept = self._kept.get(id(param))
        if kept is None or kept[0] != state or kept[1] is not param:
            with torch.inference_mode(False), torch.no_grad():
                kept = state, param, param.to(dtype)
            self._kept[id(param)] = kept
        return kept[2]

    def linear(self, layer: nn.Module, x: Tensor) -> Tensor:
        """``layer(x)``, on a GPU by kept casts of what is frozen."""
        if (type(layer) not in LINEAR_TYPES or not accelerated(x)
                or is_watched(layer)):
            return layer(x)
        dtype = compute_dtype(x)
        return F.linear(x, self(layer.weight, dtype), self(layer.bias, dtype))

    def layers(self, module: nn.Module, x: Tensor) -> Tensor:
        """``module(x)``, by :meth:`linear` where it is a sequence."""
        if (not isinstance(module, nn.Sequential) or not accelerated(x)
                or is_watched(module)):
            return self.linear(module, x)
        for child in module:
            x = self.layers(child, x)
        return x

    @property
    def nbytes(self) -> int:
        """What is kept."""
        return sum(copy.nbytes for *_, copy in self._kept.values())

    def clear(self) -> None:
        """Forget all copies."""
        self._kept.clear()

    def __deepcopy__(self, memo: Any) -> 'CastOnce':
        return CastOnce()

    def __reduce__(self):
        return CastOnce, ()
