"""Lists of class names, and whether two of them agree."""
from typing import Any, Optional, Sequence, Tuple

from mmengine.config import Config

from mona_mm.text import some

Names = Tuple[str, ...]


def difference(one: Sequence[str], other: Sequence[str], here: str,
               there: str) -> Optional[str]:
    """How two lists of classes differ, label by label.

    Upper case, ``-``, ``_`` and spaces do not count.

    Args:
        one (Sequence[str]): Names of labels 0, 1 ...
        other (Sequence[str]): The same, from elsewhere.
        here (str): What the first list is.
        there (str): What the second one is.

    Returns:
        str, optional: None if they agree.
    """
    a, b = [_plain(n) for n in one], [_plain(n) for n in other]
    if a == b:
        return None
    mine = [n for n, plain in zip(one, a) if plain not in b]
    theirs = [n for n, plain in zip(other, b) if plain not in a]
    if mine or theirs:
        told = [f'only {where}: {some(list(names))}'
                for where, names in ((here, mine), (there, theirs)) if names]
        return f'{here} and {there} differ in their classes: ' + (
            '; '.join(told))
    first = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), None)
    if first is None:  # a name stands there twice
        return f'{here} has {len(a)} classes, {there} {len(b)}'
    return (f'{here} and {there} have the same classes in another order: '
            f'label {first} is {one[first]!r} here and {other[first]!r} there')


def recorded_classes(checkpoint: dict) -> Optional[Names]:
    """The classes that a checkpoint was trained for, if it says so.

    Args:
        checkpoint (dict): As mmengine (``dataset_meta``) or its predecessor
            (``CLASSES``) wrote it.
    """
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    data = meta.get('dataset_meta')
    data = data if isinstance(data, dict) else {}
    return as_names(data.get('classes', data.get(
        'CLASSES', meta.get('CLASSES'))))


def as_names(classes: Any) -> Optional[Names]:
    """Class names as plain strings; None if they are none."""
    if not isinstance(classes, (list, tuple)) or not classes:
        return None
    return tuple(map(str, classes))


def _plain(name: str) -> str:
    return name.casefold().translate(str.maketrans('-_', '  ')).strip()


def scope_of(cfg: Config) -> str:
    """The scope in which a config's types are looked up."""
    return cfg.get('default_scope') or 'mmengine'
