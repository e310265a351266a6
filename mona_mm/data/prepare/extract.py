"""Reading archives: nothing is written outside the folder it belongs to."""
import os
import stat
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Callable, Iterator, NamedTuple, Optional, Tuple

from tqdm import tqdm

from mona_mm.errors import ConfigError, UserError
from mona_mm.text import free_bytes, mib, write_atomically

from .files import check_regular

Place = Callable[[str], Optional[str]]
#: What comes out of an archive may be this large, or this many times as
#: large as the archive. (Potsdam's labels, the densest that is published,
#: are 4 GiB out of 20 MB.)
MOST, MOST_TIMES = 16 << 30, 100
#: Members of a tar archive that only say something about the next one, and
#: are read as a whole.
_NOTES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
          tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONGEST_NOTE = 1 << 20
_DEEPEST = 100
_BLOCK = 1 << 20


class Member(NamedTuple):
    """A file in an archive: its name, its size, and what opens it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def extract(archive: Path, root: Path, place: Place,
            progress: bool = True) -> int:
    """Extract the files of a zip or tar archive.

    Files that are there with the right size are left as they are, so that an
    interrupted run goes on where it stopped; links and devices are passed
    over. Zip and plain tar archives list their members: those are checked
    before the first is written. A compressed tar archive is checked member
    by member.

    Args:
        archive (Path): The archive; it is only read.
        root (Path): The folder below which everything goes.
        place (Callable): Maps a member's name to a path below ``root``, or
            to None to leave it out.
        progress (bool): Whether to show a bar.

    Returns:
        int: How many files were written.

    Raises:
        ConfigError: If the archive is no regular file, damaged, encrypted
            or out of all proportion, a member would go outside ``root``, or
            the disk has no room for it; what was written before stays.
    """
    check_regular(archive)
    written = 0
    if not _is_gzip(archive):
        _check_room(archive, root, [
            m.size for m, _ in _todo(archive, root, place, False)])
    for member, path in _todo(archive, root, place, progress):
        _check_room(archive, root, [member.size])
        with write_atomically(path) as partial:
            with open(partial, 'wb') as file:
                for block in _blocks(archive, member):
                    file.write(block)
            if os.path.getsize(partial) != member.size:
                raise ConfigError(f'{archive}: {member.name!r} ends early; '
                                  'fetch the archive again')
        written += 1
    return written


def _todo(archive: Path, root: Path, place: Place,
          progress: bool) -> Iterator[Tuple[Member, Path]]:
    """The members that are to be written, and where."""
    most = max(MOST, MOST_TIMES * os.path.getsize(archive))
    out = 0
    for member in tqdm(_members(archive), desc=archive.name, unit=' files',
                       disable=not progress):
        out += _on_disk(member.size)
        if out > most:
            raise ConfigError(
                f'{archive}, of {mib(os.path.getsize(archive))}, would '
                f'unpack to more than {mib(most)}: do not use this archive')
        _check_name(archive, member.name)
        target = place(member.name)
        if target is None:
            continue
        path = _inside(archive, root, target)
        check_regular(path)
        if not (os.path.isfile(path)
                and os.path.getsize(path) == member.size):
            yield member, path


def _members(archive: Path) -> Iterator[Member]:
    with _reading(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for info in file.infolist():
                    if info.flag_bits & 1:
                        raise ConfigError(
                            f'{archive} is encrypted ({info.filename!r}): '
                            'unpack it by hand, or fetch the published one')
                    mode = info.external_attr >> 16
                    if not info.is_dir() and not stat.S_ISLNK(mode):
                        yield Member(info.filename, info.file_size,
                                     lambda i=info: file.open(i))
            return
        mode = 'r:gz' if _is_gzip(archive) else 'r:'
        with tarfile.open(archive, mode, tarinfo=_Header) as file:
            for info in file:
                if info.size < 0:  # of a pax header: it would go in circles
                    raise tarfile.ReadError(f'{info.name!r} has a negative '
                                            'size')
                if info.isfile():
                    yield Member(info.name, info.size,
                                 lambda i=info: file.extractfile(i))


def _blocks(archive: Path, member: Member) -> Iterator[bytes]:
    with _reading(archive), member.open() as source:
        while block := source.read(_BLOCK):
            yield block


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Tell faults of an archive from those of the disk written to."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno is None:  # gzip's word for damage
            raise ConfigError(_damaged(archive, error)) from error
        raise ConfigError(f'{archive} cannot be read: '
                          f'{error.strerror}') from error
    except NotImplementedError as error:
        raise ConfigError(
            f'{archive} is packed in a way that is not known here ({error}): '
            'unpack it by hand, or fetch the published one') from error
    except Exception as error:  # a damaged archive raises anything
        raise ConfigError(_damaged(archive, error)) from error


def _damaged(archive: Path, error: Exception) -> str:
    return (f'{archive} cannot be read ({type(error).__name__}: {error}): it '
            'is incomplete or damaged; fetch it again')


class _Header(tarfile.TarInfo):
    """A header that is told to be broken.

    tarfile takes a broken one for the end of the archive, goes in circles
    after a negative size, and reads notes of any length into memory.
    """

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        try:
            header = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError,
                tarfile.TruncatedHeaderError) as error:
            raise tarfile.ReadError(f'a header is broken: {error}') from error
        if header.size < 0 or (header.size > _LONGEST_NOTE
                               and header.type in _NOTES):
            raise tarfile.ReadError(f'a header claims {header.size} bytes')
        return header


def _is_gzip(archive: Path) -> bool:
    with _reading(archive), open(archive, 'rb') as file:
        return file.read(2) == b'\x1f\x8b'


def _check_room(archive: Path, root: Path, sizes) -> None:
    """Compare the sizes of files to be written with the disk."""
    needed, free = sum(map(_on_disk, sizes)), free_bytes(root)
    if needed > free:
        raise ConfigError(
            f'{archive}: the disk is too full. Unpacking needs {mib(needed)} '
            f'in {root}, where {mib(free)} are free: free some space, or '
            'name another folder with --out')


def _on_disk(size: int) -> int:
    """Files take whole blocks, and empty ones a place in a table."""
    return size + 4096


def _check_name(archive: Path, name: str) -> None:
    parts = PurePosixPath(name.replace('\\', '/')).parts
    if '..' in parts or name.startswith(('/', '\\')) or name[1:2] == ':':
        raise ConfigError(f'{archive} holds {name!r}, which would be written '
                          'outside its folder: do not use this archive')
    if len(parts) > _DEEPEST:  # os.makedirs calls itself for each
        raise ConfigError(f'{archive} holds {name[:60]!r}..., {len(parts)} '
                          'folders deep: do not use this archive')


def _inside(archive: Path, root: Path, target: str) -> Path:
    """The target's path, links on the way resolved."""
    path, base = (root / target), os.path.realpath(root)
    if '\0' in target:
        raise ConfigError(f'{archive} holds {target!r}, which is no name of '
                          'a file: do not use this archive')
    if os.path.commonpath([base, os.path.realpath(path)]) != base:
        raise ConfigError(f'{archive}: {target!r} leads out of {root}: '
                          'there is a link on the way')
    return path
