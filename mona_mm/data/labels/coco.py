"""COCO's JSON files, looked into without reading all of them."""
import json
import mmap
import os
import re
from functools import lru_cache
from itertools import islice
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
)

from mona_mm.text import some

from .leaves import Leaf
from .names import difference
from .pictures import Picture

#: Entries of a JSON file that are looked at.
_ANNOTATIONS, _PICTURES = 1000, 16
_LISTS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')


class NotCoco(ValueError):
    """A file that does not have COCO's layout."""


def read_coco(leaf: Leaf) -> List[Picture]:
    """Compare a COCO file's categories with the config's classes.

    Args:
        leaf (Leaf): Of ``CocoDataset``, whose labels are numbered in the
            order of the file, whatever the order of the classes.
    """
    path = leaf.data.ann_file
    try:
        leaf.written = check_categories(leaf, path, leaf.data.metainfo[
            'classes'])
        _look_at_boxes(leaf, path)
        heads = list(entries(path, 'images', _PICTURES))
    except NotCoco as error:
        leaf.refuse(str(error))
        return []
    root = leaf.data.data_prefix.get('img', '')
    return [
        Picture(os.path.join(root, image['file_name']),
                (image.get('width'), image.get('height')), path)
        for image in heads if 'file_name' in image
    ]


def check_categories(leaf: Leaf, path: str,
                     classes: Sequence[str]) -> Tuple[str, ...]:
    """Every class must be a category, and in the file's order.

    pycocotools returns the categories of given names in the file's order, and
    label i is the i-th of them.

    Args:
        leaf (Leaf): Is told what is wrong.
        path (str): The JSON file.
        classes (Sequence[str]): The config's.

    Returns:
        tuple[str, ...]: What labels 0, 1 ... are in the file.

    Raises:
        NotCoco: If the file has no categories.
    """
    names = [c['name'] for c in categories(path)]
    chosen = tuple(n for n in names if n in set(classes))
    lost = [n for n in classes if n not in names]
    others = [n for n in names if n not in set(classes)]
    if lost:
        leaf.refuse(
            f'metainfo.classes has {_quoted(lost)}, which {path} does not '
            'have: the labels of all classes after it would slip. Its '
            f'categories that no class is spelt like: {_quoted(others)}')
    elif len(set(chosen)) < len(chosen):
        twice = sorted({n for n in chosen if chosen.count(n) > 1})
        leaf.refuse(f'{path} has several categories of the name '
                    f'{_quoted(twice)}: labels would be numbered by both')
    elif list(chosen) != list(classes):
        leaf.refuse(
            f'{difference(classes, chosen, "metainfo.classes", path)}. '
            'Labels are numbered in the order of the file: list the classes '
            f'in that order, ({", ".join(map(repr, chosen))}, )')
    elif others:
        leaf.warn(f'labels of {_quoted(others)} in {path} are left out: '
                  'metainfo.classes does not have them')
    return chosen


def categories(path: str) -> List[dict]:
    """The categories of a COCO file.

    Raises:
        NotCoco: If it has none.
    """
    found = list(entries(path, 'categories'))
    if not found or not all('name' in c and 'id' in c for c in found):
        raise NotCoco(f'{path} has no list "categories" with "id" and '
                      '"name": is it a COCO file?')
    return found


def _look_at_boxes(leaf: Leaf, path: str) -> None:
    known = {c['id'] for c in categories(path)}
    seen = list(entries(path, 'annotations', _ANNOTATIONS))
    for ann in seen:
        lacking = [k for k in ('bbox', 'area', 'category_id')
                   if k not in ann and not ann.get('ignore')]
        if lacking:
            leaf.refuse(f'{path}: annotation {ann.get("id")} has no '
                        f'{some(lacking)}, which {leaf.kind} reads')
            return
    stray = {a['category_id'] for a in seen} - known
    if stray:
        text = (f'{path}: labels with category_id {_quoted(stray)} are left '
                f'out: the categories are {_quoted(known)}')
        every = all(a['category_id'] in stray for a in seen)
        leaf.refuse(text) if every and leaf.trains else leaf.warn(text)
    small = [a for a in seen if min(a['bbox'][2:]) < 1 or a['area'] <= 0]
    if seen and len(small) == len(seen) and leaf.trains:
        leaf.refuse(
            f'{path}: none of the first {len(seen)} boxes counts, for a side '
            f'below 1 pixel or an area of 0, such as {small[0]["bbox"]} '
            f'(area {small[0]["area"]}); expected x, y, width, height in '
            'pixels')


def _quoted(names: Iterable[Any]) -> str:
    return some([repr(n) for n in names])


def check_other_file(leaf: Leaf, path: str) -> Optional[str]:
    """Whether an evaluator's file has the pictures of a dataset's file.

    Args:
        leaf (Leaf): Of ``CocoDataset``.
        path (str): The evaluator's JSON file.

    Returns:
        str, optional: How they differ; None if they agree.
    """
    own = leaf.data.ann_file
    if os.path.samefile(own, path):
        return None
    here, there = _pictures(own), _pictures(path)
    lost = [n for i, n in here.items() if there.get(i) != n]
    more = [n for i, n in there.items() if here.get(i) != n]
    if not lost and not more:
        return None
    told = [f'{len(names)} pictures only in the {where} ({some(names, 3)})'
            for where, names in (('dataset\'s', lost), ('evaluator\'s', more))
            if names]
    return f'{path} is not the file of the dataset, {own}: ' + '; '.join(told)


def _pictures(path: str) -> Dict[Any, str]:
    return {i.get('id'): os.path.basename(i.get('file_name', ''))
            for i in entries(path, 'images')}


def entries(path: str, key: str, most: Optional[int] = None) -> List[Any]:
    """The first entries of a list in a JSON file's outermost object.

    Args:
        path (str): The file.
        key (str): Of the list.
        most (int, optional): How many; all by default.

    Raises:
        NotCoco: If the file is no JSON object, or has no such list.
    """
    stat = os.stat(path)
    return _entries(path, key, most, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=32)  # train, val and evaluators share files
def _entries(path: str, key: str, most: Optional[int], time: int,
             size: int) -> List[Any]:
    try:
        places = _places(path, time, size).get(key, [])
        if len(places) == 1:
            with open(path, 'rb') as file, mmap.mmap(
                    file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return list(islice(_decoded(content, places[0]), most))
        # None, or one within another: only a full reading tells.
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
        return list(islice(found[key], most))
    except (ValueError, KeyError, TypeError) as error:
        raise NotCoco(f'{path} cannot be read as a COCO file: no list '
                      f'"{key}" ({type(error).__name__}: {error})') from error


@lru_cache(maxsize=8)
def _places(path: str, time: int, size: int) -> Dict[str, List[int]]:
    """Where the lists begin; one pass, at about 200 MB a second."""
    found: Dict[str, List[int]] = {}
    with open(path, 'rb') as file, mmap.mmap(
            file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _LISTS.finditer(content):
            found.setdefault(match[1].decode(), []).append(match.end())
    return found


def _decoded(content: mmap.mmap, start: int) -> Iterator[Any]:
    """Decode one entry of a list after the other, from a place in a file."""
    decoder, chunk, skip = json.JSONDecoder(), 1 << 20, re.compile(r'[\s,]*')
    text, place, end = '', 0, start
    while True:
        place = skip.match(text, place).end()
        if text[place:place + 1] == ']':
            return
        try:
            if place == len(text):
                raise ValueError('the list has no end')
            value, after = decoder.raw_decode(text, place)
            if after == len(text):
                raise ValueError('a number may go on')
        except ValueError:
            if end >= len(content):
                raise
            part = content[end:end + chunk]
            while end + len(part) < len(content) and (
                    content[end + len(part)] & 0xC0 == 0x80):
                part += content[end + len(part):end + len(part) + 1]
            end += len(part)
            text, place = text[place:] + part.decode(), 0
            chunk *= 2
            continue
        yield value
        place = after
