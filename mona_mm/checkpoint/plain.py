"""What goes into a checkpoint is made plain, so that it can be read again."""
import copy
import os
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any, List, Tuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mona_mm.compat import set_statistics, statistics_of

from .unpickle import STATISTICS, NotPlain, check_key

#: Types that are written as they are; :mod:`.unpickle` reads them.
_PLAIN = (type(None), bool, float, complex, str, bytes, bytearray, Tensor,
          torch.nn.Parameter, torch.Size, torch.dtype, torch.device)
#: Of their subclasses (enums, NumPy's strings), the value is written.
_VALUES = (str, int, float, complex, bytes)
_DEEPEST = 64


def plain(value: Any) -> Tuple[Any, List[str]]:
    """Turn a value into plain data, as far as that is possible.

    NumPy's scalars and strings become Python's, paths and members of enums
    their text or number, other mappings dicts, named tuples tuples. Tensors,
    numeric arrays and log buffers stay.

    Args:
        value (Any): Is not changed.

    Returns:
        tuple[Any, list[str]]: What to save, and one line for each item of a
        dict that no reader would take and that is left out.
    """
    left: List[str] = []
    try:
        return _plain(value, (), left), left
    except NotPlain as error:
        return None, [str(error)]


def _plain(value: Any, path: tuple, left: List[str]) -> Any:
    kind = type(value)
    if kind in _PLAIN or kind is int and value.bit_length() < 2000:
        return value
    if kind is int:
        raise NotPlain(f'{_dotted(path)} (an integer of '
                       f'{value.bit_length()} bits)')
    if kind is HistoryBuffer:
        return _plain_history(value)
    if isinstance(value, np.dtype) and _is_numeric(value):
        return value
    if kind is np.ndarray and _is_numeric(value.dtype):
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    if type(value) in _PLAIN or isinstance(value, _VALUES):
        base = next(b for b in (*_PLAIN, *_VALUES) if isinstance(value, b))
        # What is written is the value, not how an enum shows it.
        return str.__str__(value) if base is str else (
            value if type(value) is base else base(value))
    if len(path) > _DEEPEST:
        raise NotPlain(f'{_dotted(path[:4])}... (nested too deep)')
    if isinstance(value, Mapping):
        made = type(value)() if type(value) in (OrderedDict, Counter) else {}
        for key, inner in value.items():
            try:
                name = check_key(_plain(key, (*path, key), left))
                made[name] = _plain(inner, (*path, key), left)
            except NotPlain as error:
                left.append(str(error))
        return made
    for base in (list, tuple, set, frozenset):
        if isinstance(value, base):
            return base([_plain(inner, (*path, i), left)
                         for i, inner in enumerate(value)])
    raise NotPlain(f'{_dotted(path)} (a {kind.__module__}.'
                   f'{kind.__qualname__})')


def _plain_history(value: HistoryBuffer) -> HistoryBuffer:
    """A log buffer without the statistics that user code has registered."""
    methods = statistics_of(value)
    if set(methods) <= set(STATISTICS):
        return value
    value = copy.copy(value)
    set_statistics(value, {
        k: v for k, v in methods.items() if k in STATISTICS})
    return value


def _is_numeric(dtype: np.dtype) -> bool:
    return dtype.isnative and (dtype.kind in 'biuf' and dtype.itemsize <= 8
                               or dtype.kind == 'c' and dtype.itemsize <= 16)


def _dotted(path: tuple) -> str:
    return '.'.join(map(str, path))
