"""Names: of methods, and what OpenMMLab's naming of configs says."""
import re
from pathlib import PurePosixPath
from typing import Dict, NamedTuple, Optional, Tuple

from mona_mm.registry import TUNERS

#: The paper's ten, in the order of its tables; others stand behind them.
PAPER = ('full', 'fixed', 'bitfit', 'normtuning', 'partial', 'adapter',
         'lora', 'adaptformer', 'lorand', 'mona')
#: From small to large, as backbones' names end.
_SIZES = ('nano', 't', 's', 'b', 'l', 'h')
#: Backbones that are not written as a word.
_SPELT = {'vit': 'ViT'}


def methods() -> Dict[str, type]:
    """All registered tuners by their names in lower case, in order."""
    TUNERS.import_from_location()
    known = {name.lower(): cls for name, cls in TUNERS.module_dict.items()}
    first = {name: known[name] for name in PAPER}
    return {**first, **dict(sorted(known.items()))}


def find_method(label: str) -> Optional[str]:
    """The method that a label is the name of.

    Args:
        label (str): A key of :func:`methods`, a type or a display name,
            however it is spelt: ``'Norm-Tuning'``, ``'partial_1'``.

    Returns:
        str | None: A key of :func:`methods`; None if the label says more or
        something else.
    """
    word = _letters(label)
    return next((name for name, cls in methods().items()
                 if word in (name, _letters(cls.display_name))), None)


def display_name(label: str) -> str:
    """What a method calls itself, ``'Partial-1'``; other labels stay."""
    method = find_method(label)
    return methods()[method].display_name if method else label


def _letters(label: str) -> str:
    return re.sub('[^a-z0-9]', '', label.lower())


class Leaf(NamedTuple):
    """``{head}[-{method}[-{variant}]]{tail}``, a config's name taken apart.

    Attributes:
        head (str): Model and backbone, ``'retinanet_swin-l'``.
        method (str): A key of :func:`methods`; full fine-tuning's configs
            do not name it.
        variant (str): What stands behind the method, often nothing.
        tail (str): Schedule and data with the leading underscore.
    """

    head: str
    method: str
    variant: str
    tail: str

    @property
    def task(self) -> str:
        """The name without the method: the same for all methods."""
        return self.head + self.tail

    @property
    def word(self) -> str:
        """Method and variant, ``'mona-b32'``."""
        return self.method + f'-{self.variant}' * bool(self.variant)

    @property
    def backbone(self) -> str:
        """As the paper writes it, ``'Swin-L'``."""
        name, _, size = self.head.split('_')[-1].partition('-')
        size = size.upper() if len(size) == 1 else size
        name = _SPELT.get(name, name.capitalize())
        return '-'.join(filter(None, [name, size]))

    def stem(self, word: str) -> str:
        """The name of another method's config of the same task."""
        return self.head + f'-{word}' * (word != 'full') + self.tail


def parse(config: str, *others: str) -> Leaf:
    """Take the name of a config apart.

    Args:
        config (str): A path or its stem.
        *others (str): Methods that are not registered.

    Returns:
        Leaf: With an empty tail if the name has another form.
    """
    stem = PurePosixPath(config.replace('\\', '/')).name.removesuffix('.py')
    known = '|'.join(map(re.escape, sorted(
        [*methods(), *others], key=len, reverse=True)))
    found = re.fullmatch(rf'(.+?)-({known})(?:-([^_]+))?(_.+)', stem)
    if found:
        return Leaf(*(part or '' for part in found.groups()))
    # Full fine-tuning: the backbone is the first part with a size.
    found = re.fullmatch(r'(.*?[a-z]+-(?:nano|[a-z]))(_.+)', stem)
    head, tail = found.groups() if found else (stem, '')
    return Leaf(head, 'full', '', tail)


def name_run(config: str, tuner: Optional[str]) -> Leaf:
    """What a run trained, by its config's name and its tuner.

    Args:
        config (str): The config's path.
        tuner (str | None): The tuner's type, as the run's record has it.

    Returns:
        Leaf: The tuner decides where the name says another method
        (``--tuner``); ``'unknown'`` is the method of a config that is named
        otherwise, without a tuner.
    """
    if tuner is None:
        leaf = parse(config)
        return leaf if leaf.tail else leaf._replace(method='unknown')
    last = tuner.split('.')[-1]
    leaf = parse(config, last.lower())
    method = find_method(last)
    if (method or last.lower()) == leaf.method:
        return leaf._replace(method=method or last)
    return leaf._replace(method=method or last, variant='')


def place(backbone: str, method: str, variant: str) -> Tuple:
    """A key to sort rows by: backbone, the paper's order, then the variant.

    Args:
        backbone (str): ``'Swin-L'``; sizes count from small to large.
        method (str): As it calls itself.
        variant (str): Numbers in it count as such: 32 before 128.
    """
    order = list(methods())
    size = backbone.partition('-')[2].lower()
    words = re.split(r'(\d+)', variant)
    natural = [(int(w), '') if w.isdecimal() else (-1, w) for w in words]
    return (_index(_SIZES, size), backbone,
            _index(order, find_method(method)), method, bool(variant),
            natural)


def _index(known, word) -> int:
    return list(known).index(word) if word in known else len(known)
