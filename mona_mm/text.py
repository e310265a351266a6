"""Small helpers for messages and files."""
import os
import platform
import re
from contextlib import contextmanager
from typing import Iterator, Sequence


def some(names: Sequence[str], most: int = 8) -> str:
    """Join names for a message, at most ``most`` of them."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return (', '.join(names[:most]) + more) or 'none'


#: Of files that are being written: machine, and process on it.
PARTIAL = re.compile(r'(?:\.([\w-]+))?\.(\d+)\.part$')


def machine_name() -> str:
    """What tells this machine's files from others' on a shared disk."""
    return re.sub(r'[^\w-]', '_', platform.node())[:64] or 'machine'


def partial_name(path) -> str:
    """Where a file is written before it comes into place, beside it."""
    return f'{path}.{machine_name()}.{os.getpid()}.part'


@contextmanager
def write_atomically(path) -> Iterator[str]:
    """Give a path to write to, and put it in place once it is complete.

    Args:
        path (str | Path): Where the file goes; its folder is made.

    Yields:
        str: A path beside it; removed if writing fails.
    """
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    partial = partial_name(path)
    try:
        yield partial
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
