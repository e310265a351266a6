"""How to measure, and on what: sizes, precision, device, rounds."""
import os
import platform
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple, Sequence, Tuple, Union

import torch

from mona_mm.engine.device import device_name, versions
from mona_mm.errors import ConfigError

DTYPES = dict(
    float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)
_PACKAGES = ('torch', 'mmengine', 'mmcv', 'mmpretrain', 'mona_mm')
_VARIABLES = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS', 'GOMP_SPINCOUNT',
              'CUDA_LAUNCH_BLOCKING', 'PYTORCH_CUDA_ALLOC_CONF')


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
        square = self.height == self.width
        return f'{self.batch}x{self.height}' + f'x{self.width}' * (not square)

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
        only (Sequence[str]): What to measure, see
            :data:`mona_mm.research.benchmark.run.MEASURES`; all if empty.
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
    only: Sequence[str] = ()
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
        check_known('--dtype', [self.dtype], tuple(DTYPES))
        check_known('--device', [self.device], ('cpu', 'cuda', 'auto'))
        for name, least in (('runs', 1), ('warmup', 0), ('new_shapes', 1)):
            if getattr(self, name) < least:
                option = name.replace('_', '-')
                raise ConfigError(f'--{option} must be at least {least}, but '
                                  f'got {getattr(self, name)}')
        there = torch.cuda.is_available()
        if self.device == 'cuda' and not there:
            raise ConfigError('--device cuda: torch finds no CUDA device '
                              'here; use --device cpu, or auto')
        self.place = torch.device(
            'cuda' if there and self.device != 'cpu' else 'cpu')

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


def environment(place: torch.device) -> dict:
    """Describe this machine and its software.

    Args:
        place (torch.device): What is measured on.

    Returns:
        dict: ``date``, ``device``, ``threads``, ``versions`` and more, as
        plain data.
    """
    return dict(
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        device=device_name(place),
        device_type=place.type,
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        interop_threads=torch.get_num_interop_threads(),
        load_average=[round(n, 2) for n in os.getloadavg()],
        matmul_precision=torch.get_float32_matmul_precision(),
        cuda=torch.version.cuda if place.type == 'cuda' else None,
        python=platform.python_version(),
        system=f'{platform.system()} {platform.machine()}',
        versions=versions(_PACKAGES),
        variables={k: os.environ[k] for k in _VARIABLES if k in os.environ})
