"""Names: of methods, and what OpenMMLab's naming of configs says.

Whoever has to know what a config's name or a run's tuner is called asks here.
Nothing here imports torch: a method that is not loaded is known by its
fragment in ``configs/_base_/tuners``, and by what a run's record calls it.
"""
import re
from pathlib import PurePosixPath
from typing import Dict, List, NamedTuple, Optional, Tuple

from mona_mm.config import tuner_fragments
from mona_mm.registry import TUNERS

#: The paper's ten, in the order of its tables and as it writes them: the
#: first five insert nothing. Other methods stand behind them.
PAPER = dict(
    full='Full', fixed='Fixed', bitfit='BitFit', normtuning='NormTuning',
    partial='Partial-1', adapter='Adapter', lora='LoRA',
    adaptformer='AdaptFormer', lorand='LoRand', mona='Mona')
#: From small to large, as backbones' names end.
_SIZES = ('nano', 't', 's', 'b', 'l', 'h')
#: Backbones that are not written as a word.
_SPELT = {'vit': 'ViT'}


def loaded() -> Dict[str, type]:
    """The tuners that this process has imported, by the words for them."""
    return {name.lower(): cls for name, cls in TUNERS.module_dict.items()}


def methods() -> List[str]:
    """The words for all methods, as configs' names have them, in order."""
    others = {*tuner_fragments(), *loaded()} - set(PAPER)
    return [*PAPER, *sorted(others)]


def find_method(label: str) -> Optional[str]:
    """The method that a label is the name of.

    Args:
        label (str): A word, a type or a display name, however it is spelt:
            ``'Norm-Tuning'``, ``'partial_1'``.

    Returns:
        str | None: One of :func:`methods`; None if the label says more or
        something else.
    """

    def letters(text: str) -> str:
        return re.sub('[^a-z0-9]', '', text.lower())

    names = {word: PAPER.get(word, word) for word in methods()}
    names.update({word: cls.display_name for word, cls in loaded().items()})
    return next((word for word, name in names.items()
                 if letters(label) in (letters(word), letters(name))), None)


def display_name(label: str) -> str:
    """What a method calls itself, ``'Partial-1'``; other labels stay."""
    word, classes = find_method(label), loaded()
    if word in classes:
        return classes[word].display_name
    return PAPER.get(word, label)


class Leaf(NamedTuple):
    """``{head}[-{method}[-{variant}]]{tail}``, a config's name taken apart.

    Attributes:
        head (str): Model and backbone, ``'retinanet_swin-l'``.
        method (str): One of :func:`methods`; full fine-tuning's configs
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
        name, _, size = self.head.split('_')[-1].rpartition('-')
        size = size if size in _SIZES[:1] else size.capitalize()
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
    sizes = '|'.join(_SIZES)
    found = re.fullmatch(rf'(.*?[a-z0-9]-(?:{sizes})\d*)(_.+)', stem)
    head, tail = found.groups() if found else (stem, '')
    return Leaf(head, 'full', '', tail)


def name_run(config: str, tuner: Optional[str],
             option: Optional[str] = None) -> Leaf:
    """What a run trained, by its config's name and its tuner.

    Args:
        config (str): The config's path.
        tuner (str | None): The tuner's type, as the run's record has it.
        option (str | None): What ``--tuner`` named, without its folder and
            ``.py``: ``'mona'``, or ``'mona-b8'`` for a variant of it.

    Returns:
        Leaf: ``--tuner`` decides, then the tuner where the name says another
        method; ``'unknown'`` is the method of a config that is named
        otherwise, without a tuner.
    """
    if tuner is None:
        leaf = parse(config)
        return leaf if leaf.tail else leaf._replace(method='unknown')
    last = tuner.split('.')[-1]
    leaf = parse(config, last.lower())
    method = find_method(last)
    if option is not None:
        word = method or last.lower()
        variant = option.removeprefix(word).lstrip('-')
        return leaf._replace(method=method or last, variant=variant)
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
    order = methods()
    size = backbone.rpartition('-')[2].lower().rstrip('0123456789')
    words = re.split(r'(\d+)', variant)
    natural = [(int(w), '') if w.isdecimal() else (-1, w) for w in words]
    def index(known, word) -> int:
        return known.index(word) if word in known else len(known)

    return (index(_SIZES, size), backbone, index(order, find_method(method)),
            method, bool(variant), natural)
