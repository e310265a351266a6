"""Questions that are asked of every prepared dataset."""
import os
from pathlib import Path
from typing import Iterable, List, Optional, Sequence

from PIL import Image
from tqdm import tqdm

from mona_mm.text import some

#: How a complete file of this kind ends.
_ENDS = {'.jpg': b'\xff\xd9', '.jpeg': b'\xff\xd9', '.JPEG': b'\xff\xd9',
         '.png': b'IEND\xaeB`\x82'}


def total(what: str, found: int, expected: Optional[object]) -> List[str]:
    """Compare a count with the known one (None: it is not known)."""
    if expected is None or found == expected:
        return []
    return [f'{what}: {found:,}, expected {expected:,}']


def same(what: str, left: Iterable[str], right: Iterable[str],
         sides: Sequence[str]) -> List[str]:
    """Compare two sets of names, and name what only one of them has."""
    left, right = set(left), set(right)
    return [
        f'{what}: {len(only)} only in {side} ({some(sorted(only), 4)})'
        for only, side in ((left - right, sides[0]), (right - left, sides[1]))
        if only
    ]


def broken(paths: Iterable[Path], progress: bool = True) -> List[str]:
    """Name pictures that are missing, empty or end early.

    A look at the end of the file is enough for most; what does not end as it
    should is decoded, because some complete files carry extra bytes.
    """
    bad = [str(p) for p in tqdm(list(paths), desc='pictures',
                                unit=' files', disable=not progress)
           if not _complete(p)]
    if not bad:
        return []
    return [f'{len(bad)} pictures are missing or damaged: {some(bad, 4)}']


def _complete(path: Path) -> bool:
    end = _ENDS.get(path.suffix)
    if not os.path.isfile(path):
        return False  # reading from a pipe would never end
    try:
        with open(path, 'rb') as file:
            if end and file.seek(0, 2) > len(end):
                file.seek(-len(end), 2)
                if file.read() == end:
                    return True
        with Image.open(path) as image:
            image.load()
        return True
    except Exception:  # a damaged picture raises anything
        return False


def missing(paths: Iterable[Path]) -> List[str]:
    """Name files that are not there."""
    gone = [str(p) for p in paths if not os.path.isfile(p)]
    return [f'missing: {some(gone, 4)}'] if gone else []
