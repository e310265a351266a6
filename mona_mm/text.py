"""Small helpers for messages and files."""
import errno
import json
import os
import platform
import re
import shutil
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator, Sequence, Union

from mona_mm.errors import ConfigError

#: Whole numbers in our files count iterations, bytes or seconds; what is
#: larger overflows in the first division.
_LARGEST = 2**63

#: What systems answer when a disk, a quota or a limit on files is used up.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
def write_atomically(path, durable: bool = False) -> Iterator[str]:
    """Give a path to write to, and put it in place once it is complete.

    Args:
        path (str | Path): Where the file goes; its folder is made.
        durable (bool): Put it in place once it is on the disk, for files
            that must outlive a machine that stops. Defaults to False.

    Yields:
        str: A path beside it; removed if writing fails.

    Raises:
        ConfigError: If it cannot be written; a file that was there before is
            untouched.
    """
    partial = partial_name(path)
    folder = os.path.dirname(path) or '.'
    try:
        os.makedirs(folder, exist_ok=True)
        yield partial
        if durable:
            _sync(partial)
        os.replace(partial, path)
        if durable:
            with suppress(OSError):  # not every file system syncs folders
                _sync(folder)
    except OSError as error:
        raise ConfigError(cannot_write(path, error)) from error
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cannot_write(path, error: OSError) -> str:
    """Say which file could not be written and why, a full disk in so many
    words."""
    why = error.strerror or str(error)
    if error.filename and not str(error.filename).startswith(str(path)):
        why += f' ({error.filename})'  # a folder above, or what is read
    if error.errno in FULL:
        why += (f'; {mib(free_bytes(path))} are free there. Free some space,'
                ' or name another folder')
    return f'cannot write {path}: {why}'


def kind_of(path) -> str:
    """What is there that is no regular file, in a word."""
    kinds = dict(folder=stat.S_ISDIR, pipe=stat.S_ISFIFO,
                 socket=stat.S_ISSOCK)
    mode = os.stat(path).st_mode
    return next((k for k, test in kinds.items() if test(mode)), 'device')


def free_bytes(path) -> int:
    """Free bytes where a file or folder is, or will be."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return shutil.disk_usage(path).free


def mib(count: float) -> str:
    """Bytes for a message."""
    return f'{count / 2**20:,.1f} MiB'
