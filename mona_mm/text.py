"""Small helpers for messages and files."""
import os
from contextlib import contextmanager
from typing import Iterator, Sequence


def some(names: Sequence[str], most: int = 8) -> str:
    """Join names for a message, at most ``most`` of them."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return (', '.join(names[:most]) + more) or 'none'


@contextmanager
def write_atomically(path) -> Iterator[str]:
    """Give a path to write to, and put it in place once it is complete.

    Args:
        path (str | Path): Where the file goes; its folder is made.

    Yields:
        str: A path beside it; removed if writing fails.
    """
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    partial = f'{path}.{os.getpid()}.part'
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
