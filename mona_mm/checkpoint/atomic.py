"""Writing files so that a kill leaves the old one or the new one whole."""
import os
import os.path as osp
import time
from contextlib import suppress
from pathlib import Path
from typing import List, Union

from mmengine.fileio import LocalBackend, register_backend

from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.text import PARTIAL, machine_name, mib, write_atomically

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
    before = 'the file that was there before is untouched' if osp.exists(
        path) else 'nothing was there before'
    try:
        with write_atomically(osp.abspath(path), durable=True) as partial:
            Path(partial).write_bytes(content)
    except ConfigError as error:
        raise CheckpointError(
            f'{error}; it has {mib(len(content))}; {before}. Free some space '
            'or name another --work-dir, and go on with --resume') from error


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
        path, partial = osp.join(folder, name), PARTIAL.search(name)
        if not partial or not osp.isfile(path):
            continue
        with suppress(OSError):  # it may be gone by now
            machine, pid = partial.groups()
            dead = not alive(int(pid)) if machine == machine_name() else (
                time.time() - osp.getmtime(path) > _STALE)
            if dead:
                os.remove(path)
                removed.append(path)
    return removed


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


def alive(pid: int) -> bool:
    """Whether a process of this machine has this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
