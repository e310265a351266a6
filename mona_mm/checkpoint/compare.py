"""Where two state dicts differ."""
from typing import Collection, List, Mapping, NamedTuple, Sequence

import torch
from torch import Tensor

from mona_mm.text import some


class Misfit(NamedTuple):
    """Where a state dict does not fit; false if it fits.

    Attributes:
        missing (Sequence[str]): Names that it lacks.
        unexpected (Sequence[str]): Names that only it has.
        shapes (Sequence[str]): Tensors of another shape, with both.
    """
    missing: Sequence[str] = ()
    unexpected: Sequence[str] = ()
    shapes: Sequence[str] = ()

    def __bool__(self) -> bool:
        return any(self)

    def __str__(self) -> str:
        told = ((self.missing, 'tensors missing'),
                (self.unexpected, 'unexpected'),
                (self.shapes, 'of another shape'))
        return ', '.join(f'{len(names)} {what} ({some(names)})'
                         for names, what in told if names)


def compare(own: Mapping[str, Tensor],
            given: Mapping[str, Tensor],
            optional: Collection[str] = ()) -> Misfit:
    """Compare the names and shapes of two state dicts.

    Args:
        own (Mapping[str, Tensor]): The model's.
        given (Mapping[str, Tensor]): The file's.
        optional (Collection[str]): Names that the file need not have.
    """
    return Misfit(
        sorted(k for k in own if k not in given and k not in optional),
        sorted(k for k in given if k not in own),
        [f'{k} {tuple(given[k].shape)} instead of {tuple(v.shape)}'
         for k, v in own.items()
         if k in given and given[k].shape != v.shape])


def odd_values(own: Mapping[str, Tensor],
               given: Mapping[str, Tensor]) -> List[str]:
    """What no weight is: other kinds of tensor, and NaN.

    Copying would turn a complex or integer one into floating point without
    a word.

    Args:
        own (Mapping[str, Tensor]): The model's.
        given (Mapping[str, Tensor]): What is to be copied into them.
    """
    return [
        f'{name} {why}' for name, tensor in own.items()
        if name in given and tensor.is_floating_point()
        and (why := _why_odd(given[name]))
    ]


def _why_odd(value: Tensor) -> str:
    if value.is_meta or value.layout is not torch.strided:
        return 'is a meta tensor' if value.is_meta else 'is sparse'
    if value.is_quantized or not value.is_floating_point():
        return f'is {str(value.dtype).removeprefix("torch.")}'
    wide = value if value.itemsize >= 4 else value.float()
    # A sum is finite unless an element is not, or they are huge.
    if not (torch.isfinite(wide.sum()) or torch.isfinite(wide).all()):
        return 'has values that are NaN or infinite'
    return ''
