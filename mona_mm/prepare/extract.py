"""Reading archives: nothing is written outside the folder it belongs to."""
import os
import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Callable, Iterator, Optional, Tuple

from tqdm import tqdm

from mona_mm.errors import ConfigError
from mona_mm.text import write_atomically

Place = Callable[[str], Optional[str]]
Member = Tuple[str, int, Callable[[], IO[bytes]]]


def extract(archive: Path, root: Path, place: Place,
            progress: bool = True) -> int:
    """Extract the files of a zip or tar archive.

    Files that are there with the right size are left as they are, so that an
    interrupted run goes on where it stopped; links and devices are passed
    over.

    Args:
        archive (Path): The archive; it is only read.
        root (Path): The folder below which everything goes.
        place (Callable): Maps a member's name to a path below ``root``, or
            to None to leave it out.
        progress (bool): Whether to show a bar.

    Returns:
        int: How many files were written.

    Raises:
        ConfigError: If the archive is damaged, or a member would go
            outside ``root``; what was written before stays.
    """
    written = 0
    try:
        for name, size, read in tqdm(
                _members(archive), desc=archive.name, unit=' files',
                disable=not progress):
            _check_name(archive, name)
            target = place(name)
            if target is None:
                continue
            path = _inside(archive, root, target)
            if path.is_file() and path.stat().st_size == size:
                continue
            with write_atomically(path) as partial:
                with read() as source, open(partial, 'wb') as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                _check_size(archive, name, partial, size)
            written += 1
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise ConfigError(f'{archive} cannot be read ({error}): it is '
                          'incomplete or damaged; fetch it again') from error
    return written


def _members(archive: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if not info.is_dir() and not _is_link(info):
                    yield info.filename, info.file_size, (
                        lambda i=info: file.open(i))
        return
    with tarfile.open(archive, 'r:*') as file:
        for info in file:
            if info.isfile():
                yield info.name, info.size, (
                    lambda i=info: file.extractfile(i))


def _is_link(info: zipfile.ZipInfo) -> bool:
    return (info.external_attr >> 16) & 0o170000 == 0o120000


def _check_name(archive: Path, name: str) -> None:
    parts = PurePosixPath(name.replace('\\', '/')).parts
    if '..' in parts or name.startswith(('/', '\\')) or name[1:2] == ':':
        raise ConfigError(f'{archive} holds {name!r}, which would be written '
                          'outside its folder: do not use this archive')


def _inside(archive: Path, root: Path, target: str) -> Path:
    """The target's path, links on the way resolved."""
    path, base = (root / target), os.path.realpath(root)
    if os.path.commonpath([base, os.path.realpath(path)]) != base:
        raise ConfigError(f'{archive}: {target!r} leads out of {root}: '
                          'there is a link on the way')
    return path


def _check_size(archive: Path, name: str, path: str, size: int) -> None:
    if os.path.getsize(path) != size:
        raise ConfigError(f'{archive}: {name!r} ends early; fetch the '
                          'archive again')
