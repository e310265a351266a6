"""Methods, and what OpenMMLab's naming of config files says."""
import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Optional, Tuple

#: As the paper writes them, in the order of its tables.
METHODS = ('Full', 'Fixed', 'BitFit', 'NormTuning', 'Partial-1', 'Adapter',
           'LoRA', 'AdaptFormer', 'LoRand', 'Mona')
_BACKBONES = ('Swin-nano', 'Swin-T', 'Swin-B', 'Swin-L')
_BY_WORD = {m.lower().replace('-1', ''): m for m in METHODS}
_STEM = re.compile(r'(?P<model>[^_]+_)?swin-(?P<size>t|b|l|nano)'
                   r'(?:-(?P<method>[^_-]+))?(?:-(?P<variant>[^_]+))?'
                   r'_(?P<rest>.+)')


@dataclass(frozen=True)
class Name:
    """A config's name taken apart.

    Args:
        task (str): The stem without the method.
        backbone (str): ``'Swin-L'``, or empty if the name does not say.
        method (str): As the paper writes it.
        variant (str): What stands behind the method, often nothing.
    """

    task: str
    backbone: str
    method: str
    variant: str = ''


def method_of(word: Optional[str]) -> str:
    """A method as the paper writes it, of a tuner's type or a name's part.

    Args:
        word (str | None): ``'mona_mm.Partial'`` or ``'partial'``, for
            example; None stands for full fine-tuning.

    Returns:
        str: The word itself if it is none of the paper's ten.
    """
    last = (word or 'full').split('.')[-1]
    return _BY_WORD.get(last.lower(), last)


def parse(config: str) -> Optional[Name]:
    """Take ``{model}_swin-{size}[-{method}[-{variant}]]_{rest}`` apart.

    Args:
        config (str): A path or its stem; ``{model}_`` may be missing.

    Returns:
        Name | None: None for names of another form.
    """
    stem = PurePath(config).stem
    found = _STEM.fullmatch(stem)
    if not found:
        return None
    size = found['size']
    task = f'{found["model"] or ""}swin-{size}_{found["rest"]}'
    backbone = f'Swin-{size if size == "nano" else size.upper()}'
    return Name(task, backbone, method_of(found['method']),
                found['variant'] or '')


def place(backbone: str, method: str, variant: str) -> Tuple:
    """The place of a row: backbone, the paper's order, then the variant.

    Args:
        backbone (str): As in :class:`Name`.
        method (str): As the paper writes it.
        variant (str): Numbers in it count as such: 32 before 128.

    Returns:
        tuple: A key to sort by.
    """
    words = re.split(r'(\d+)', variant)
    natural = [(int(w), '') if w.isdigit() else (-1, w) for w in words]
    return (_index(_BACKBONES, backbone), _index(METHODS, method), method,
            bool(variant), natural)


def _index(known: Tuple[str, ...], word: str) -> int:
    return known.index(word) if word in known else len(known)
