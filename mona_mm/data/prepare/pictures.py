"""Reading large pictures of anybody's."""
from pathlib import Path
from typing import Tuple

import cv2
import numpy as np

from mona_mm.errors import ConfigError
from mona_mm.text import write_atomically

from .files import check_regular

#: What OpenCV decodes at most; STAR's largest picture has 0.87 * 2**30.
MOST_PIXELS = 1 << 30


def picture_size(path: Path) -> Tuple[int, int]:
    """Width and height of a picture, from its header alone.

    Raises:
        ConfigError: If it is no picture, or claims to be gigantic.
    """
    from PIL import Image
    Image.MAX_IMAGE_PIXELS = None
    check_regular(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
    except Exception as error:  # a damaged picture raises anything
        raise ConfigError(f'{path} cannot be read ({error}): it is '
                          'incomplete or no picture') from error
    if width * height > MOST_PIXELS:
        raise ConfigError(f'{path} claims {width:,} x {height:,} pixels; '
                          f'expected at most {MOST_PIXELS:,}')
    return width, height


def read_picture(path: Path) -> np.ndarray:
    """Read a picture (H, W, 3) in B, G, R.

    Raises:
        ConfigError: If it cannot be read.
    """
    check_regular(path)
    try:
        pixels = cv2.imread(str(path))
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ConfigError(f'{path} cannot be read: it is incomplete or no '
                          'picture')
    return pixels


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a picture (H, W) or (H, W, 3) in B, G, R; all or nothing."""
    with write_atomically(path) as partial:
        Path(partial).write_bytes(cv2.imencode('.png', pixels)[1].tobytes())
