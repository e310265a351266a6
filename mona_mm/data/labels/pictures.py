"""What a picture's file says that its loader does not tell."""
import os.path as osp
from typing import List, NamedTuple, Optional, Tuple

import mmcv
import numpy as np
from PIL import Image, UnidentifiedImageError

from .leaves import Leaf

_ORIENTATION, _BITS_PER_SAMPLE = 274, 258
_LARGE = 64 * 2**20  # pixels; no larger picture is decoded for a message


class Picture(NamedTuple):
    """A picture of a dataset.

    Attributes:
        path (str): Its file.
        size (tuple[int, int], optional): (width, height) that its label file
            gives, or None; (None, None) where that has none.
        labels (str, optional): Its label file; None where labels hold no
            pixels.
    """

    path: str
    size: Optional[Tuple[Optional[int], Optional[int]]] = None
    labels: Optional[str] = None


class Header(NamedTuple):
    """What a picture's file says."""

    size: Tuple[int, int]
    orientation: int
    bits: int


def look_at_pictures(leaf: Leaf, pictures: List[Picture]) -> None:
    """Compare the first pictures of a set with what is loaded of them.

    Args:
        leaf (Leaf): Is told of pictures that are missing, turned by their
            EXIF orientation, of another size than their labels say, or of
            more than 8 bits.
        pictures (list[Picture]): A few of its pictures.
    """
    step = leaf.step('LoadImageFromFile')
    if step is None or any('://' in p.path for p in pictures):
        return
    told = set()  # one picture of each kind
    for picture in pictures:
        if not osp.isfile(picture.path):
            leaf.refuse(f'the picture {picture.path} does not exist' + (
                f', which {picture.labels} is for' if picture.labels else ''))
            return
        header = read_header(picture.path)
        if header is None:
            continue
        for kind, text in (('orientation', _turned(picture, header, step)),
                           ('bits', _deep(picture, header, step))):
            if text and kind not in told:
                told.add(kind)
                leaf.warn(text)


def read_header(path: str) -> Optional[Header]:
    """Read size, EXIF orientation and bits per channel, not the pixels.

    Args:
        path (str): A file; None is returned if Pillow does not know its
            format.
    """
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            # PNG's getexif() would decode the pixels to look behind them.
            known = image.format != 'PNG' or 'exif' in image.info
            orientation = image.getexif().get(_ORIENTATION, 1) if known else 1
            bits = 16 if image.mode[0] in 'IF' else 8
            if hasattr(image, 'tag_v2'):
                bits = max(np.atleast_1d(
                    image.tag_v2.get(_BITS_PER_SAMPLE, bits)))
            size, kind = image.size, image.format
    except (UnidentifiedImageError, OSError):
        return None
    finally:
        Image.MAX_IMAGE_PIXELS = most
    if kind == 'PNG':  # Pillow reduces colours to 8 bits by itself
        with open(path, 'rb') as file:
            bits = file.read(25)[24]
    return Header(size, orientation, int(bits))


def _turned(picture: Picture, header: Header, step: dict) -> Optional[str]:
    if picture.labels is None:
        return None  # a class does not turn with its picture
    color = step.get('color_type', 'color')
    obeyed = header.orientation not in (0, 1) and color in (
        'color', 'grayscale')
    loaded = header.size
    if obeyed:
        height, width = mmcv.imread(
            picture.path, flag=color,
            backend=step.get('imdecode_backend', 'cv2')).shape[:2]
        loaded = (width, height)
    said = picture.size if picture.size and None not in picture.size else None
    if obeyed and (said is None or tuple(said) != loaded
                   or header.size == loaded):
        size = f', its labels ({picture.labels}) are for {_by(said)}' if (
            said) else ''
        return (
            f'{picture.path} has the EXIF orientation {header.orientation}: '
            f'stored {_by(header.size)} (width x height), it is loaded as '
            f'{_by(loaded)}{size}. '
            'Labels that were drawn on the stored pixels miss what they '
            "mark; color_type='color_ignore_orientation' in the pipelines' "
            'LoadImageFromFile loads pictures as they are stored')
    if said and tuple(said) != loaded:
        return (f'width and height in {picture.labels} are {_by(said)}, but '
                f'{picture.path} is {_by(loaded)}: labels miss what they mark '
                'unless they were drawn at that size')
    return None


def _deep(picture: Picture, header: Header, step: dict) -> Optional[str]:
    color = step.get('color_type', 'color')
    if header.bits <= 8 or color == 'unchanged':
        return None
    text = ''
    if header.size[0] * header.size[1] <= _LARGE:
        pixels = mmcv.imread(picture.path, flag='unchanged')
        if pixels is not None and pixels.dtype == np.uint16:
            most = int(pixels.max())
            text = f': its values up to {most:,} become 0 to {most >> 8}'
    return (f'{picture.path} has {header.bits} bits per channel, of which the '
            f'pipeline keeps the upper 8{text}. Scale such pictures to 8 bits '
            'beforehand, or load them with '
            "LoadImageFromFile(color_type='unchanged', to_float32=True) and "
            'set data_preprocessor.mean and std to their range')


def _by(size: Tuple[int, int]) -> str:
    return f'{size[0]} x {size[1]}'
