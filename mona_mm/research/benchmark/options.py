"""How to measure: sizes, precision, device, number of runs."""
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Sequence, Tuple, Union

import torch

from mona_mm.errors import ConfigError

MEASURES = ('saved', 'time', 'inference', 'optimizer', 'memory', 'area',
            'launches', 'shapes')
DTYPES = dict(
    float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)


class Size(NamedTuple):
    """The shape of an image batch.

    Attributes:
        batch (int): B, the number of images.
        height (int): H in pixels.
        width (int): W in pixels.
    """
    batch: int
    height: int
    width: int

    def __str__(self) -> str:
        sides = {self.height: str(self.height)}.get(
            self.width, f'{self.height}x{self.width}')
        return f'{self.batch}x{sides}'

    @property
    def megapixels(self) -> float:
        """All pixels of the batch, in millions."""
        return self.batch * self.height * self.width / 1e6


@dataclass
class Options:
    """How everything is measured.

    Args:
        sizes (Sequence[Size]): Image batches.
        area_sizes (Sequence[int]): Sides in pixels for cost against area,
            one image each.
        only (Sequence[str]): What to measure, out of :data:`MEASURES`.
        dtype (str): ``'float32'``, or the type of autocast.
        device (str): ``'cpu'``, ``'cuda'`` or ``'auto'``.
        runs (int): Timed rounds.
        warmup (int): Rounds before them.
        seed (int): Seed of weights, images and drop-path.
        new_shapes (int): Image shapes for the cost of a new one.
        skip_dropped (bool | str): Whether timed backbones leave out the
            branches that drop-path zeroes; ``'auto'``: as by default. Saved
            activations are counted with every branch, because they would
            depend on the draw.

    Raises:
        ConfigError: If a value cannot be used, or CUDA is asked for and not
            there.
    """
    sizes: Sequence[Size] = (Size(2, 224, 224), )
    area_sizes: Sequence[int] = (224, 512, 1024)
    only: Sequence[str] = MEASURES
    dtype: str = 'float32'
    device: str = 'auto'
    runs: int = 10
    warmup: int = 2
    seed: int = 0
    new_shapes: int = 20
    skip_dropped: Union[bool, str] = 'auto'
    #: The device that is used.
    place: torch.device = field(init=False)

    def __post_init__(self) -> None:
        check_known('--only', self.only, MEASURES)
        check_known('--dtype', [self.dtype], tuple(DTYPES))
        for name, least in (('runs', 1), ('warmup', 0), ('new_shapes', 1)):
            if getattr(self, name) < least:
                option = name.replace('_', '-')
                raise ConfigError(f'--{option} must be at least {least}, but '
                                  f'got {getattr(self, name)}')
        self.place = _pick_device(self.device)

    @property
    def area_runs(self) -> int:
        """Timed rounds of each size of the area table: at most three."""
        return min(self.runs, 3)

    def autocast(self) -> AbstractContextManager:
        """The context of every forward pass."""
        if self.dtype == 'float32':
            return nullcontext()
        return torch.autocast(self.place.type, dtype=DTYPES[self.dtype])

    def images(self, size: Size, channels: int = 3) -> torch.Tensor:
        """Reproducible random images, (B, channels, H, W)."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (size.batch, channels, size.height, size.width)
        return torch.randn(*shape, generator=generator).to(self.place)


def parse_size(text: str) -> Size:
    """Read ``'2x224'`` (batch, side) or ``'1x800x1344'`` (batch, H, W).

    Raises:
        ConfigError: If it is neither.
    """
    if not re.fullmatch(r'[1-9]\d*(x[1-9]\d*){1,2}', text):
        raise ConfigError(f'--sizes {text!r}: expected BATCHxSIDE such as '
                          '2x224, or BATCHxHEIGHTxWIDTH such as 1x800x1344')
    batch, *sides = (int(n) for n in text.split('x'))
    return Size(batch, sides[0], sides[-1])


def check_known(option: str, given: Sequence[str],
                known: Tuple[str, ...]) -> None:
    """Raise ConfigError, naming the known values, for any other value."""
    unknown = [g for g in given if g not in known]
    if unknown or not given:
        raise ConfigError(f'{option}: unknown {", ".join(unknown) or "(none)"}'
                          f'; expected of {", ".join(known)}')


def _pick_device(name: str) -> torch.device:
    check_known('--device', [name], ('cpu', 'cuda', 'auto'))
    there = torch.cuda.is_available()
    if name == 'cuda' and not there:
        raise ConfigError('--device cuda: torch finds no CUDA device here; '
                          'use --device cpu, or auto')
    return torch.device('cuda' if there and name != 'cpu' else 'cpu')
