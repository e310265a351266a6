"""Small operations on files of datasets."""
import os
import shutil
from pathlib import Path
from typing import Iterable, List

from mona_mm.errors import ConfigError
from mona_mm.text import kind_of, write_atomically


def check_regular(path: Path) -> None:
    """Raise ConfigError if something is there, but not a regular file.

    Reading from a pipe, a socket or a device may never end.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ConfigError(f'{path} is no regular file but a {kind_of(path)}: '
                          'move it away')


def link(source: Path, target: Path) -> None:
    """Give a file a second name, by copy where links are not possible.

    A target that is there already is left as it is.

    Raises:
        ConfigError: If either is a pipe, a device or a folder, or the
            target cannot be written.
    """
    check_regular(source)
    check_regular(target)
    if os.path.exists(target):
        return
    with write_atomically(target) as partial:
        try:
            os.link(source.resolve(), partial)
        except OSError:
            shutil.copyfile(source, partial)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed preparations left half written below a folder."""
    for place, _, files in os.walk(folder):
        if any(name.endswith('.part') for name in files):
            from mona_mm.checkpoint.atomic import remove_partials  # slow
            remove_partials(place)


def read_text(path: Path) -> str:
    """The content of a text file.

    Raises:
        ConfigError: If it is missing, no regular file, or no text.
    """
    check_regular(path)
    try:
        return path.read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        raise ConfigError(f'{path} cannot be read ({error})') from error


def read_lines(path: Path) -> List[str]:
    """Lines of a text file that are not empty."""
    lines = map(str.strip, read_text(path).splitlines())
    return [line for line in lines if line]


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines, all or nothing."""
    with write_atomically(path) as partial:
        with open(partial, 'w', encoding='utf-8', newline='\n') as file:
            file.writelines(f'{line}\n' for line in lines)


def names(folder: Path, suffix: str) -> List[str]:
    """Names, without the suffix, of a folder's files; [] if it is missing."""
    if not folder.is_dir():
        return []
    return sorted(f.name[:-len(suffix)] for f in os.scandir(folder)
                  if f.name.endswith(suffix))
