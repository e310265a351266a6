"""A small cache of tensors with a bound in bytes."""
from collections import OrderedDict
from typing import Any, Callable, Hashable, Iterable

from torch import Tensor


def tensor_bytes(value: Any) -> int:
    """Bytes of all tensors in a (nested) tuple."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Iterable) and not isinstance(value, str):
        return sum(map(tensor_bytes, value))
    return 0


class BoundedCache:
    """Keeps what was used last, up to a number of bytes.

    A value that is larger than the bound is handed out but not kept.

    Args:
        max_bytes (int): The bound.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._values: OrderedDict = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of a key, made if it is not there."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        if tensor_bytes(value) <= self.max_bytes:
            self._values[key] = value
            self.nbytes += tensor_bytes(value)
            while self.nbytes > self.max_bytes:
                _, oldest = self._values.popitem(last=False)
                self.nbytes -= tensor_bytes(oldest)
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self.nbytes = 0

    def __deepcopy__(self, memo) -> 'BoundedCache':
        return BoundedCache(self.max_bytes)

    def __reduce__(self):
        return BoundedCache, (self.max_bytes, )
