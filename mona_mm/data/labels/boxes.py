"""Boxes in label files of Pascal VOC's and DOTA's layout."""
import difflib
import os.path as osp
from collections import Counter
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple
from xml.etree import ElementTree

from mmengine.fileio import list_from_file

from mona_mm.text import some

from .leaves import Leaf, spread
from .pictures import Picture

#: Label files that are read of one dataset in XML; DOTA's are read all,
#: because a single line can end the training.
_FILES, _PICTURES = 20_000, 16
#: Twice the area of a triangle of corners, below which they are on one line.
_FLAT = 1e-3


class Scan(NamedTuple):
    """What the label files of a dataset hold.

    Attributes:
        names (Counter): How often each class occurs.
        first (dict[str, str]): Where each occurs first.
        flat (tuple[str, ...]): Boxes without area, and where.
        broken (tuple[str, ...]): Lines that no dataset can read, and why.
        sizes (dict[str, tuple]): (width, height) by file, where given.
        read (int): How many files were read.
        there (int): How many there are.
    """

    names: Counter
    first: Dict[str, str]
    flat: Tuple[str, ...]
    broken: Tuple[str, ...]
    sizes: Dict[str, Tuple[int, int]]
    read: int
    there: int


def read_xml(leaf: Leaf) -> List[Picture]:
    """Compare the names in XML files with the config's classes.

    Args:
        leaf (Leaf): Of ``XMLDataset``, which leaves out other names.
    """
    data = leaf.data
    ids = list_from_file(data.ann_file)
    folder = osp.join(data.sub_data_root, data.ann_subdir)
    found = _judge_xml(leaf, folder, ids, data.metainfo['classes'])
    small = (data.filter_cfg or {}).get('bbox_min_size') or 0
    if leaf.trains and small < 1:
        _warn_flat(leaf, found, 'filter_cfg=dict(bbox_min_size=1) in the '
                   'dataset leaves them out')
    pictures = osp.join(data.sub_data_root, data.img_subdir)
    return _pictures(found, folder, pictures, ids)


def read_xml_classes(leaf: Leaf) -> List[Picture]:
    """The same, where a picture's objects are its class (``VOC``)."""
    data = leaf.data
    if data.ann_prefix is None:
        return []
    ids = list_from_file(data.image_set_path)
    found = _judge_xml(leaf, data.ann_prefix, ids, data.metainfo['classes'])
    return [Picture(p.path) for p in _pictures(
        found, data.ann_prefix, data.img_prefix, ids)]


def read_dota(leaf: Leaf) -> List[Picture]:
    """Read every line as ``DOTADataset`` will, and name those it cannot.

    Args:
        leaf (Leaf): Of ``DOTADataset``.
    """
    data = leaf.data
    folder = data.data_prefix['img_path']
    if not data.ann_file:  # pictures without labels
        files = sorted(glob(osp.join(folder, f'*.{data.img_suffix}')))
        if not files:
            leaf.refuse(f'no *.{data.img_suffix} in {folder}; other pictures '
                        "need img_suffix='...' in the dataset")
        return [Picture(path) for path in files[:_PICTURES]]
    files = sorted(glob(osp.join(data.ann_file, '*.txt')))
    if not files:
        leaf.refuse(f'no *.txt in {data.ann_file}')
        return []
    found = _scan_dota(tuple(files), sum(map(osp.getmtime, files)))
    if found.broken:
        leaf.refuse(
            f'{len(found.broken)} lines are no labels: '
            f'{"; ".join(found.broken[:3])}. Expected x1 y1 x2 y2 x3 y3 x4 y4 '
            'class difficulty, without the header lines of DOTA\'s own files '
            '(`imagesource`, `gsd`); tiles that were cut by mmrotate or by '
            'tools/prepare_data.py have such lines')
    classes = data.metainfo['classes']
    if others := [n for n in found.names if n not in classes]:
        leaf.refuse(
            f'metainfo.classes lacks {_places(found, others)}; it has '
            f'{some(list(classes))}. {leaf.kind} does not leave such labels '
            'out, it stops')
    if leaf.trains and leaf.step('FilterAnnotations') is None:
        _warn_flat(leaf, found, 'dict(type=\'mmdet.FilterAnnotations\', '
                   'min_gt_bbox_wh=(1, 1), keep_empty=False) after '
                   'ConvertBoxType in the pipeline leaves them out')
    return [
        Picture(osp.join(folder, f'{Path(path).stem}.{data.img_suffix}'),
                None, path) for path in files[:_PICTURES]
    ]


def _judge_xml(leaf: Leaf, folder: str, ids: Sequence[str],
               classes: Sequence[str]) -> Scan:
    found = _scan_xml(folder, tuple(spread(ids, _FILES)), len(ids))
    if found.broken:
        leaf.refuse(f'{len(found.broken)} label files cannot be read: '
                    f'{"; ".join(found.broken[:3])}')
    others = [n for n in found.names if n not in classes]
    unused = [n for n in classes if n not in found.names]
    meant = {n: close[0] for n in unused if (close := _close(n, others))}
    if not others:
        return found
    seen = f'in {found.read} of {found.there} label files'
    if len(others) == len(found.names):
        leaf.refuse(f'no label is of a class in metainfo.classes '
                    f'({some(list(classes))}); {seen} there are '
                    f'{_places(found, others)}')
    elif meant:
        leaf.refuse(
            'metainfo.classes has ' + ', '.join(
                f'{n!r}, where the label files have {other!r}'
                for n, other in meant.items())
            + f' ({_places(found, list(meant.values()))}): labels of other '
            f'names are left out. {seen.capitalize()} the classes '
            f'{some(unused)} have no label')
    else:
        text = f'labels of {_places(found, others)} are left out: ' \
            'metainfo.classes does not have them'
        if unused and leaf.trains:
            text += f'; {seen} its classes {some(unused)} have no label'
        leaf.warn(text)
    return found


@lru_cache(maxsize=8)  # several loaders may read the same files
def _scan_xml(folder: str, ids: Tuple[str, ...], there: int) -> Scan:
    names, first, flat, broken, sizes = Counter(), {}, [], [], {}
    for stem in ids:
        path = osp.join(folder, f'{stem}.xml')
        try:
            root = ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError) as error:
            broken.append(f'{path} ({error})')
            continue
        sizes[stem] = tuple(_number(root, f'size/{k}')
                            for k in ('width', 'height'))
        for node in root.iterfind('object'):
            name = node.findtext('name')
            names[name] += 1
            first.setdefault(name, path)
            x1, y1, x2, y2 = (_number(node, f'bndbox/{k}') for k in (
                'xmin', 'ymin', 'xmax', 'ymax'))
            if None in (x1, y1, x2, y2):
                broken.append(f'{path} ({name} without a whole bndbox)')
            elif x2 <= x1 or y2 <= y1:
                flat.append(f'{path} ({name}: {x1} {y1} {x2} {y2})')
    return Scan(names, first, tuple(flat), tuple(broken), sizes, len(ids),
                there)


def _number(node: ElementTree.Element, path: str) -> Optional[int]:
    try:
        return int(float(node.findtext(path)))
    except (TypeError, ValueError):
        return None


@lru_cache(maxsize=8)
def _scan_dota(files: Tuple[str, ...], times: float) -> Scan:
    names, first, flat, broken = Counter(), {}, [], []
    for path in files:
        with open(path) as file:
            lines = file.read().split('\n')
        for number, line in enumerate(lines, 1):
            parts = line.split()
            if not parts and number == len(lines):
                continue  # behind the last line's end
            here = f'{path}, line {number}'
            try:
                corners = [float(v) for v in parts[:8]]
                name = parts[8]
                int(parts[9])
            except (ValueError, IndexError):
                broken.append(f'{here}: {line!r}')
                continue
            if name not in first:
                first[name] = here
            names[name] += 1
            if _on_a_line(corners):
                flat.append(f'{here} ({line.strip()})')
    return Scan(names, first, tuple(flat), tuple(broken), {}, len(files),
                len(files))


def _on_a_line(corners: Sequence[float]) -> bool:
    """Whether four corners (x1, y1, ... y4) span no area.

    The cross products of the three vectors from the first corner are all
    zero; a box that fits such corners has no width or no height.
    """
    x, y = corners[0], corners[1]
    (a, b), (c, d), (e, f) = ((corners[i] - x, corners[i + 1] - y)
                              for i in (2, 4, 6))
    return (abs(a * d - b * c) < _FLAT and abs(c * f - d * e) < _FLAT
            and abs(a * f - b * e) < _FLAT)


def _warn_flat(leaf: Leaf, found: Scan, remedy: str) -> None:
    if found.flat:
        leaf.warn(
            f'{len(found.flat)} boxes have no area: '
            f'{"; ".join(found.flat[:3])}. They make the loss of several '
            f'detectors nan or infinite: {remedy}')


def _close(name: str, others: Sequence[str]) -> List[str]:
    plain = {n.casefold().strip(): n for n in others if n}
    return [plain[n] for n in difflib.get_close_matches(
        name.casefold(), plain, n=1, cutoff=0.8)]


def _places(found: Scan, names: Sequence[str]) -> str:
    return some([f'{n!r} ({found.names[n]} x, first in {found.first[n]})'
                 for n in names], 4)


def _pictures(found: Scan, labels: str, pictures: str,
              ids: Sequence[str]) -> List[Picture]:
    return [
        Picture(osp.join(pictures, f'{stem}.jpg'), found.sizes.get(stem),
                osp.join(labels, f'{stem}.xml')) for stem in ids[:_PICTURES]
    ]
