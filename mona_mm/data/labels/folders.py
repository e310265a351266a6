"""Labels of whole pictures: folders of classes, lists, numbered classes."""
import os
import os.path as osp
from itertools import islice
from typing import Iterable, List, Tuple

from mmengine.fileio import list_from_file, load

from mona_mm.text import some

from .leaves import Leaf, spread
from .names import as_names, difference
from .pictures import Picture

_PICTURES = 16


def read_folders(leaf: Leaf) -> List[Picture]:
    """Compare folders of classes, or a list's numbers, with the classes.

    Args:
        leaf (Leaf): Of mmpretrain's ``CustomDataset``, which numbers folders
            by their sorted names, whatever the classes are called.
    """
    data = leaf.data
    if not data.with_label:
        return []
    if data.ann_file:
        return _read_list(leaf)
    from mmpretrain.datasets.custom import find_folders
    folders = tuple(find_folders(data.img_prefix)[0])
    leaf.written = folders
    if not folders:
        leaf.refuse(f'no folder of a class in {data.img_prefix}')
        return []
    if leaf.classes is None:
        leaf.classes = folders
    elif len(leaf.classes) != len(folders):
        leaf.refuse(f'{len(leaf.classes)} classes for {len(folders)} folders '
                    f'in {data.img_prefix}: {some(list(folders))}')
    else:
        _same_place(leaf, folders, f'the folders in {data.img_prefix}')
    paths = (osp.join(data.img_prefix, folder, file.name)
             for folder in spread(list(folders), _PICTURES)
             for file in islice(
                 (f for f in os.scandir(osp.join(data.img_prefix, folder))
                  if f.is_file() and data.is_valid_file(f.name)), 1))
    return [Picture(path) for path in paths]


def read_numbers(leaf: Leaf) -> List[Picture]:
    """Datasets whose files hold numbers: a class's place is its label.

    Args:
        leaf (Leaf): Of a dataset that brings its classes along.
    """
    own = as_names(type(leaf.data).METAINFO.get('classes'))
    if own is not None and leaf.classes is not None:
        leaf.written = own
        _same_place(leaf, own, f'the labels of {leaf.kind}')
    return []


def read_json(leaf: Leaf) -> List[Picture]:
    """OpenMMLab's own JSON, whose class names the config's replace.

    Args:
        leaf (Leaf): Of mmengine's ``BaseDataset``.
    """
    path = leaf.data.ann_file
    content = load(path)
    if not isinstance(content, dict) or not {'metainfo', 'data_list'} <= set(
            content):
        leaf.refuse(f'{path} has no "metainfo" and "data_list"')
        return []
    meta = content['metainfo']
    names = as_names(meta.get('classes')) or as_names([
        c['category_name'] for c in sorted(
            meta.get('categories', ()), key=lambda c: c['id'])])
    leaf.classes = leaf.classes or names
    if names:
        leaf.written = names
        _same_place(leaf, names, path)
    _in_range(leaf, [(i.get('img_path'), i['gt_label'])
                     for i in content['data_list']
                     if isinstance(i.get('gt_label'), int)], path)
    return []


def read_loaded(leaf: Leaf) -> List[Picture]:
    """A dataset that only knows its classes once it has read its labels.

    Args:
        leaf (Leaf): Of any dataset, read in full.
    """
    if leaf.classes is None:
        leaf.data.full_init()
        leaf.classes = as_names(leaf.data.metainfo.get('classes'))
        infos = [leaf.data.get_data_info(i) for i in range(len(leaf.data))]
        _in_range(leaf, [(i.get('img_path', '?'), i['gt_label'])
                         for i in infos if isinstance(i.get('gt_label'), int)],
                  'its labels')
        return [Picture(i['img_path']) for i in infos[:_PICTURES]
                if isinstance(i.get('img_path'), str)]
    return []


def _read_list(leaf: Leaf) -> List[Picture]:
    """A text file of pictures and numbers."""
    data, rows = leaf.data, []
    for number, line in enumerate(list_from_file(data.ann_file), 1):
        name, _, label = line.strip().rpartition(' ')
        if not name or not label.lstrip('-').isdigit():
            leaf.refuse(f'{data.ann_file}, line {number}: {line!r}; expected '
                        'a picture and the number of its class')
            return []
        rows.append((name, int(label)))
    _in_range(leaf, rows, data.ann_file)
    return [Picture(osp.join(data.img_prefix, name))
            for name, _ in rows[:_PICTURES]]


def _in_range(leaf: Leaf, rows: Iterable[Tuple[str, int]],
              source: str) -> None:
    count = len(leaf.classes or ()) or min(leaf.counts, default=0)
    wrong = [(n, label) for n, label in rows if not 0 <= label < count]
    if count and wrong:
        name, label = wrong[0]
        leaf.refuse(f'{source}: {len(wrong)} labels are not within the '
                    f'{count} classes, 0 to {count - 1}: {name} has {label}')


def _same_place(leaf: Leaf, names: Tuple[str, ...], source: str) -> None:
    """Refuse classes that the files have too, but with another number.

    Names that only one of the two has may be translations ('tench' for
    'n01440764').
    """
    place = {n: i for i, n in enumerate(names)}
    moved = [n for i, n in enumerate(leaf.classes) if place.get(n, i) != i]
    if moved:
        leaf.refuse(
            f'{difference(leaf.classes, names, "metainfo.classes", source)}. '
            f'{moved[0]!r} is label {leaf.classes.index(moved[0])} in the '
            f'config and label {place[moved[0]]} there: list the classes in '
            'that order')
