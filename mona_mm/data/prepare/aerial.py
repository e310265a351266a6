"""Aerial pictures with labels in DOTA's text format: find, cut, check."""
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
from tqdm import tqdm

from mona_mm.data.tiling import Window, windows
from mona_mm.errors import ConfigError
from mona_mm.text import some

from .files import read_text, write_lines
from .pictures import picture_size, read_picture, write_png

SIZE, GAP = 1024, 200
#: An object belongs to a window that holds this share of its area.
SHARE = 0.7
#: What fills a patch beyond the picture (B, G, R), as mmrotate does.
FILL = (104, 116, 124)
Polygon = List[Tuple[float, float]]


@dataclass(frozen=True)
class Label:
    """An object: its corners in pixels, its class, and how hard it is."""

    corners: Tuple[float, ...]
    name: str
    difficulty: str

    def line(self, window: Window = (0, 0, 0, 0)) -> str:
        """Write it as a line of a label file, relative to a window."""
        moved = (v - window[i % 2] for i, v in enumerate(self.corners))
        return ' '.join([*(f'{v:.10g}' for v in moved), self.name,
                         self.difficulty])


def read_labels(path: Path) -> List[Label]:
    """Read a label file; its two lines of header may be missing.

    Raises:
        ConfigError: If a line is no object; the message names it.
    """
    labels = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        parts = line.split()
        if not parts or line.startswith(('imagesource', 'gsd')):
            continue
        try:
            corners = tuple(map(float, parts[:8]))
            name = parts[8]
            if not all(map(math.isfinite, corners)):
                raise ValueError
        except (ValueError, IndexError):
            raise ConfigError(
                f'{path}, line {number}: {line!r}; expected x1 y1 x2 y2 x3 '
                'y3 x4 y4 class difficulty') from None
        labels.append(Label(corners, name, (parts[9:] or ['0'])[0]))
    return labels


def share_inside(label: Label, window: Window) -> float:
    """Return the share of an object's area that lies in a window."""
    polygon = list(zip(label.corners[::2], label.corners[1::2]))
    whole = _area(polygon)
    x1, y1, x2, y2 = window
    for axis, limit, sign in ((0, x1, 1), (0, x2, -1), (1, y1, 1),
                              (1, y2, -1)):
        polygon = _clip(polygon, axis, limit, sign)
    return _area(polygon) / whole if whole else 0.0


def _clip(polygon: Polygon, axis: int, limit: float, sign: int) -> Polygon:
    """Keep the part of a polygon on one side of a line."""
    kept: Polygon = []
    for i, end in enumerate(polygon):
        start = polygon[i - 1]
        before = sign * (start[axis] - limit)
        after = sign * (end[axis] - limit)
        if (before < 0) != (after < 0):
            t = before / (before - after)
            kept.append(tuple(a + t * (b - a) for a, b in zip(start, end)))
        if after >= 0:
            kept.append(end)
    return kept


def _area(polygon: Polygon) -> float:
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(
        polygon, polygon[1:] + polygon[:1]))) / 2


def window_labels(labels: Sequence[Label], window: Window) -> List[str]:
    """Label lines of a window; objects cut by its border get difficulty 2."""
    lines = []
    for label in labels:
        share = share_inside(label, window)
        if share >= SHARE:
            cut = share < 1 - 1e-9
            item = Label(label.corners, label.name,
                         '2' if cut else label.difficulty)
            lines.append(item.line(window))
    return lines


def patch_windows(width: int, height: int) -> List[Window]:
    """Windows of the patches of a picture, all of the same size.

    A picture smaller than a patch is filled up, so that training does not
    enlarge it.
    """
    return [(x, y, x + SIZE, y + SIZE)
            for x, y, _, _ in windows(width, height, SIZE, GAP)]


def patch_name(picture: str, window: Window) -> str:
    """Name a patch so that mmrotate's metric can put it back."""
    return f'{picture}__{SIZE}__{window[0]}___{window[1]}'


def cut(pictures: Dict[str, Path], labels: Dict[str, Path], out: Path,
        progress: bool = True) -> None:
    """Cut pictures and their labels into patches.

    Patches that are there are left as they are.

    Args:
        pictures (dict): Files by name.
        labels (dict): Label files by name; empty if the labels are secret.
        out (Path): Gets ``images`` and (with labels) ``annfiles``.
        progress (bool): Whether to show a bar.

    Raises:
        ConfigError: If a picture or a label cannot be read.
    """
    for name, path in tqdm(sorted(pictures.items()), desc=f'cutting {out}',
                           unit=' pictures', disable=not progress):
        todo = [w for w in patch_windows(*picture_size(path))
                if not all(p.is_file() for p in _files(
                    out, name, w, bool(labels)))]
        if todo:
            objects = read_labels(labels[name]) if labels else None
            _cut_picture(name, read_picture(path), objects, todo, out)


def _files(out: Path, name: str, window: Window,
           labelled: bool) -> List[Path]:
    """The picture of a patch, and its labels if there are any."""
    title = patch_name(name, window)
    image = out / f'images/{title}.png'
    return [image, out / f'annfiles/{title}.txt'] if labelled else [image]


def _cut_picture(name: str, image: np.ndarray,
                 objects: Optional[List[Label]], places: List[Window],
                 out: Path) -> None:
    for window in places:
        x1, y1, x2, y2 = window
        patch = image[y1:y2, x1:x2]
        filled = np.full((SIZE, SIZE, 3), FILL, np.uint8)
        filled[:patch.shape[0], :patch.shape[1]] = patch
        files = _files(out, name, window, objects is not None)
        write_png(files[0], filled)
        if objects is not None:
            write_lines(files[1], window_labels(objects, window))


def wrong_labels(paths: Sequence[Path], classes: Sequence[str],
                 progress: bool = True) -> List[str]:
    """Name label files with unreadable lines or unknown classes."""
    bad = []
    for path in tqdm(paths, desc='labels', unit=' files',
                     disable=not progress):
        try:
            unknown = {la.name for la in read_labels(path)} - set(classes)
        except ConfigError as error:
            bad.append(str(error))
            continue
        if unknown:
            bad.append(f'{path}: unknown classes {some(sorted(unknown))}')
    return [f'{len(bad)} label files are wrong: {some(bad, 3)}'] if bad else []


def by_name(folder: Path, keep: Callable[[Path], bool]) -> Dict[str, Path]:
    """Files below a folder by their names without suffix.

    Raises:
        ConfigError: If two have the same name: which one is meant?
    """
    found: Dict[str, Path] = {}
    for path in sorted(folder.rglob('*')):
        if path.is_file() and keep(path):
            if path.stem in found:
                raise ConfigError(f'{found[path.stem]} and {path} have the '
                                  'same name: remove one of them')
            found[path.stem] = path
    return found
