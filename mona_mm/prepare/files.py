"""Small operations on files of datasets."""
import os
import shutil
from pathlib import Path
from typing import Iterable, List

from mona_mm.text import write_atomically


def link(source: Path, target: Path) -> None:
    """Give a file a second name, by copy where links are not possible.

    A target that is there already is left as it is.
    """
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        with write_atomically(target) as partial:
            shutil.copyfile(source, partial)


def read_lines(path: Path) -> List[str]:
    """Lines of a text file that are not empty."""
    text = path.read_text(encoding='utf-8')
    return [line.strip() for line in text.splitlines() if line.strip()]


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
