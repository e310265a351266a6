"""Small helpers for messages and files."""
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Sequence, Union

from mona_mm.errors import ConfigError

#: Whole numbers in our files count iterations, bytes or seconds; what is
#: larger overflows in the first division.
_LARGEST = 2**63


def some(names: Sequence[str], most: int = 8) -> str:
    """Join names for a message, at most ``most`` of them."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return (', '.join(names[:most]) + more) or 'none'


def read_json(path: Union[str, Path], what: str) -> Any:
    """Read a JSON file that anybody may have written.

    Args:
        path (str | Path): The file.
        what (str): What it should be, for the error.

    Returns:
        Any: Its content.

    Raises:
        FileNotFoundError: If there is nothing.
        ConfigError: If it is no regular file (a pipe would block for ever),
            or holds no JSON, or numbers and nesting beyond any use.
    """
    path = Path(path)
    path.stat()
    if not path.is_file():
        raise ConfigError(f'{path}: not a regular file, expected {what}; '
                          'remove it')
    try:
        return parse_json(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'{path}: not {what} ({error}); mend or remove '
                          'it') from None


def parse_json(text: str) -> Any:
    """JSON to Python.

    Args:
        text (str): The JSON.

    Returns:
        Any: Its content; NaN and infinities are floats, as Python writes
        them.

    Raises:
        ValueError: If it is no JSON, is nested too deeply to be read, or a
            whole number in it has more than 64 bits.
    """
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError:
        raise ValueError('nested too deeply') from None


def _whole(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= _LARGEST:
        raise ValueError(f'the number {digits[:12]}... is out of range')
    return int(digits)


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
