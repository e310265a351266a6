"""What the name of a leaf config says.

``{model}_{backbone}[-{method}[-{variant}]]_{schedule}_{data}``, as in
OpenMMLab; without a method it is full fine-tuning.
"""
import re
from functools import lru_cache
from typing import NamedTuple

from mona_mm.registry import TUNERS


class Leaf(NamedTuple):
    """The parts of a leaf's name.

    Attributes:
        head (str): Model and backbone, e.g. ``'retinanet_swin-l'``.
        method (str): The tuner in lower case, with its variant if there is
            one (``'mona-b32'``).
        tail (str): Schedule and data with the leading underscore.
    """
    head: str
    method: str
    tail: str

    @property
    def task(self) -> str:
        """The name without the method: the same for all methods."""
        return self.head + self.tail

    def stem(self, method: str) -> str:
        """The name of another method's leaf of the same task."""
        suffix = '' if method == 'full' else f'-{method}'
        return f'{self.head}{suffix}{self.tail}'


def parse_stem(stem: str) -> Leaf:
    """Take a leaf's name apart.

    Args:
        stem (str): A config's file name without ``.py``.
    """
    found = _pattern().fullmatch(stem)
    if found:
        return Leaf(*found.groups())
    # Full fine-tuning: the backbone is the first part with a size.
    sized = re.match(r'(.*?[a-z]+-(?:nano|[a-z]))(_.+)', stem)
    head, tail = sized.groups() if sized else (stem, '')
    return Leaf(head, 'full', tail)


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern:
    names = '|'.join(sorted(methods(), key=len, reverse=True))
    return re.compile(rf'(.+?)-((?:{names})(?:-[^_]+)?)(_.+)')


def methods() -> list:
    """The names of all tuners, in lower case."""
    import mona_mm.tuners  # noqa: F401  registers them
    return sorted(name.lower() for name in TUNERS.module_dict)
