"""Labels: which method one names, and what tells work dirs apart."""
import os
import re
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from mona_mm.errors import ConfigError

#: How the paper writes the methods, in the order of its tables.
DISPLAY = dict(
    full='Full', fixed='Fixed', bitfit='BitFit', normtuning='NormTuning',
    partial='Partial-1', adapter='Adapter', lora='LoRA',
    adaptformer='AdaptFormer', lorand='LoRand', mona='Mona')
_SEED = re.compile(r'[-_.]?seed[-_.]?\d+', re.IGNORECASE)


def _compact(label: str) -> str:
    letters = re.sub('[^a-z0-9]', '', label.lower())
    return 'partial' if letters == 'partial1' else letters


def method_of(label: str) -> Optional[str]:
    """The one method that a label names, or None.

    Args:
        label (str): Such as ``'LoRA, rank 4'``.

    Returns:
        str | None: Such as ``'lora'``.
    """
    if is_plain(label):
        return _compact(label)
    words = re.split('[^a-z0-9]+', label.lower())
    named = [method for method in DISPLAY if method in words]
    return named[0] if len(named) == 1 else None


def is_plain(label: str) -> bool:
    """Whether a label is the name of a method and no more."""
    return _compact(label) in DISPLAY


def display_name(label: str) -> str:
    """Write the name of a method as the paper does; leave others alone.

    Args:
        label (str): Such as ``'partial'``.

    Returns:
        str: Such as ``'Partial-1'``.
    """
    return DISPLAY.get(_compact(label), label)


def places(folders: Sequence[str], seeds: bool,
           panels: bool) -> List[Tuple[str, str]]:
    """Name the panel and the line of every work dir by what differs.

    Args:
        folders (Sequence[str]): Work dirs.
        seeds (bool): Leave ``seed1`` and the like out of the names.
        panels (bool): Whether the folder that holds a work dir is a panel.

    Returns:
        list[tuple[str, str]]: Panel, which may be empty, and label.

    Raises:
        ConfigError: If a work dir is given twice.
    """
    paths = [Path(os.path.abspath(f)).parts for f in folders]
    if len(set(paths)) < len(paths):
        twice = next(f for f, p in zip(folders, paths) if paths.count(p) > 1)
        raise ConfigError(f'{twice} is given twice')
    if seeds:
        paths = [_without_seed(parts) for parts in paths]
    if not panels:
        return [('', label) for label in _labels(paths)]
    above = ['/'.join(p) for p in _differing([p[:-1] for p in paths])]
    labels = [''] * len(paths)
    for panel in set(above):
        members = [i for i, a in enumerate(above) if a == panel]
        names = _labels([paths[i][-1:] for i in members])
        for i, name in zip(members, names):
            labels[i] = name
    return list(zip(above, labels))


def _without_seed(parts: Tuple[str, ...]) -> Tuple[str, ...]:
    left = (_SEED.sub('', part) for part in parts)
    return tuple(part for part in left if part)


def _labels(paths: List[Tuple[str, ...]]) -> List[str]:
    differing = _differing(paths)
    if all(len(parts) == 1 for parts in differing):
        differing = [(n, ) for n in _methods([p[0] for p in differing])]
    return ['/'.join(map(display_name, parts)) for parts in differing]


def _differing(paths: Sequence[Sequence[str]]) -> List[Tuple[str, ...]]:
    """What is left without the parts that all begin and all end with."""
    rest = _strip_common(paths)
    return [r or tuple(p[-1:]) for r, p in zip(rest, paths)]


def _strip_common(rows: Sequence[Sequence[str]]) -> List[Tuple[str, ...]]:
    rows = [tuple(row) for row in rows]
    if len(set(rows)) == 1:
        return [() for _ in rows]
    for _ in range(2):  # from the front, then from the back
        while all(rows) and len({row[0] for row in rows}) == 1:
            rows = [row[1:] for row in rows]
        rows = [row[::-1] for row in rows]
    return rows


def _methods(names: List[str]) -> List[str]:
    """Names of configs that differ in the method, as methods.

    A config without one is full fine-tuning's.
    """
    split = [re.split('([-_])', name) for name in names]
    rest = [''.join(words).strip('-_') for words in _strip_common(split)]
    if any(rest) and all(method_of(word) for word in filter(None, rest)):
        return [word or 'full' for word in rest]
    return names
