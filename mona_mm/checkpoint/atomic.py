"""Writing files so that a kill leaves the old one or the new one whole."""
import os
import os.path as osp
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import List, Union

from mmengine.fileio import LocalBackend, register_backend

from mona_mm.errors import CheckpointError
from mona_mm.text import PARTIAL, machine_name, partial_name

#: The backend's name, for ``backend_args=dict(backend=...)``.
ATOMIC = 'atomic_local'
#: Seconds after which nobody is still writing to a file.
_STALE = 3600.


def replace_file(path: Union[str, Path], content: bytes) -> None:
    """Put a file in place in one step, once it is on the disk.

    Args:
        path (str | Path): Where it goes; the folder is made.
        content (bytes): All of it.

    Raises:
        CheckpointError: If it cannot be written. A file that was there
            before is untouched.
    """
    path = osp.abspath(path)
    partial = partial_name(path)
    try:
        os.makedirs(osp.dirname(path), exist_ok=True)
        _write_through(partial, content)
        os.replace(partial, path)
        _sync_folder(osp.dirname(path))
    except OSError as error:
        raise CheckpointError(_complaint(path, content, error)) from error
    finally:
        with suppress(OSError):
            os.remove(partial)


def remove_partials(folder: str) -> List[str]:
    """Remove what killed processes left half written.

    Args:
        folder (str): Where to look. Files of living processes are kept, and
            so are those of other machines on a shared disk (and of unknown
            ones) that were written to within the last hour.

    Returns:
        list[str]: The paths that were removed.
    """
    removed = []
    for name in os.listdir(folder) if osp.isdir(folder) else []:
        path = osp.join(folder, name)
        if PARTIAL.search(name) and osp.isfile(path) and _is_dead(path):
            with suppress(OSError):
                os.remove(path)
                removed.append(path)
    return removed


def _is_dead(path: str) -> bool:
    machine, pid = PARTIAL.search(path).groups()
    if machine == machine_name():
        return not alive(int(pid))
    with suppress(OSError):
        return time.time() - osp.getmtime(path) > _STALE
    return False  # gone by now


@register_backend(ATOMIC, force=True)
class AtomicLocalBackend(LocalBackend):
    """mmengine's local file backend with writes that a kill cannot tear.

    Name it as ``backend_args=dict(backend='atomic_local')`` wherever mmengine
    writes a file.
    """

    def put(self, obj: bytes, filepath: Union[str, Path]) -> None:
        """Write bytes; see :func:`replace_file`."""
        replace_file(filepath, obj)

    def put_text(self, obj: str, filepath: Union[str, Path],
                 encoding: str = 'utf-8') -> None:
        """Write text; see :func:`replace_file`."""
        replace_file(filepath, obj.encode(encoding))


def _write_through(path: str, content: bytes) -> None:
    with open(path, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Make the new name durable too, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def alive(pid: int) -> bool:
    """Whether a process of this machine has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _complaint(path: str, content: bytes, error: OSError) -> str:
    before = 'the file that was there before is untouched' if osp.exists(
        path) else 'nothing was there before'
    with suppress(OSError):
        free = shutil.disk_usage(osp.dirname(path)).free / 2**20
        before += f'; {free:,.0f} MiB are free there'
    return (f'cannot write {path} ({len(content) / 2**20:,.1f} MiB): '
            f'{error.strerror or error}; {before}. Free some space or name '
            'another --work-dir, and go on with --resume')
