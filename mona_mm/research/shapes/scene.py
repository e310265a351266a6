"""Draw textured shapes over cluttered backgrounds."""

import colorsys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .outlines import FOLDS, OUTLINES, SOURCE_CLASSES, TARGET_CLASSES, polar

Array = NDArray[np.float32]
Rng = np.random.Generator

PALETTE = ((220, 20, 60), (30, 144, 255), (255, 165, 0), (148, 0, 211),
           (34, 139, 34), (0, 206, 209))
TEXTURES = ('flat', 'stripes', 'dots', 'checker', 'gradient', 'noise')
VARIED_TEXTURES = (*TEXTURES, 'rings', 'bricks', 'zigzag')
SINGLE_SIZE = 64
_CALM_TEXTURES = ('flat', 'gradient')
_CALM_TURN = 0.35
# By how much the height of a varied outline is scaled at most, up or down.
_STRETCH = 1.35
# Of an object: what later ones leave visible at least, and what it covers of
# earlier ones at most.
MIN_VISIBLE = 0.7
MAX_OVERLAP = 0.25

_SUPERSAMPLE = 4
_PLACE_TRIES = 12


@dataclass
class SceneObject:
    """One drawn object.

    Args:
        label: Index into ``TARGET_CLASSES``.
        mask: (H, W) bool, the pixels that later objects leave visible.
        corners: (4, 2) pixel coordinates (x, y) of the box around the whole
            object in its own frame, clockwise from its top left corner.
    """

    label: int
    mask: NDArray[np.bool_]
    corners: Array


@dataclass
class Scene:
    """One picture and its objects, earlier ones below later ones.

    Args:
        image: (H, W, 3) uint8 in RGB order.
        objects: The objects in painting order.
    """

    image: NDArray[np.uint8]
    objects: list[SceneObject]


def _colour(rng: Rng, saturation: tuple[float, float],
            value: tuple[float, float]) -> Array:
    """Return one random RGB colour in 0..255, its hue uniform."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation),
                              rng.uniform(*value))
    return np.asarray(rgb, np.float32) * 255


def _contrasting(rng: Rng, below: Array) -> Array:
    """Return a colour that stands out from the mean colour ``below``."""
    drawn = [_colour(rng, (0.1, 1), (0.15, 1)) for _ in range(6)]
    return max(drawn, key=lambda c: min(np.linalg.norm(c - below), 110))


def _smooth_noise(rng: Rng, size: int, cells: int) -> Array:
    """Return (size, size) noise in 0..1 that varies over ``cells`` cells."""
    coarse = rng.random((cells, cells), np.float32)
    fine = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(fine, 0, 1)


def _axes(size: int, centre: Array, angle: float) -> tuple[Array, Array]:
    """Return (size, size) pixel offsets from ``centre`` turned by angle."""
    y, x = np.mgrid[:size, :size].astype(np.float32) + 0.5
    x, y = x - centre[0], y - centre[1]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def _texture(rng: Rng, kind: str, size: int, centre: Array,
             extent: float) -> Array:
    """Return (size, size, 1) weights in 0..1 of an object's second colour."""
    u, v = _axes(size, centre, rng.uniform(0, 2 * np.pi))
    u, v = u + rng.uniform(0, extent), v + rng.uniform(0, extent)
    period = max(5.0, extent * rng.uniform(0.14, 0.26))
    wave_u, wave_v = (np.sin(2 * np.pi * w / period) for w in (u, v))
    # Every other row of bricks is shifted by half a brick.
    shifted = u + period / 2 * (np.floor(v / period * 2) % 2)
    makers: dict[str, Callable[[], Array]] = {
        'flat': lambda: np.zeros_like(u),
        'stripes': lambda: 0.5 + 2 * wave_u,
        'dots': lambda: 2.5 * (wave_u + wave_v) - 1.2,
        'checker': lambda: 0.5 + 3 * wave_u * wave_v,
        'gradient': lambda: 0.5 + (u - u.mean()) / extent,
        'noise': lambda: _smooth_noise(rng, size, max(4, size // 5)),
        'rings': lambda: 0.5 + 2 * np.sin(2 * np.pi * np.hypot(u, v)
                                          / period),
        'bricks': lambda: 3 * np.minimum(
            np.abs(np.sin(np.pi * shifted / period)),
            np.abs(np.sin(2 * np.pi * v / period))) - 0.2,
        'zigzag': lambda: 0.5 + 2 * np.sin(
            2 * np.pi * (u + np.abs(v % period - period / 2)) / period),
    }
    return np.clip(makers[kind](), 0, 1)[..., None]


def _add_blob(rng: Rng, image: Array) -> None:
    """Blend one soft, irregular distractor into ``image`` in place."""
    size = len(image)
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = np.ones(40)
    for order in (2, 3, 5):
        radius += rng.uniform(0, 0.3) * np.cos(
            order * angle + rng.uniform(0, 2 * np.pi))
    points = polar(radius * size * rng.uniform(0.05, 0.16))
    points += rng.uniform(0, size, 2)
    alpha = np.zeros((size, size), np.float32)
    cv2.fillPoly(alpha, [np.rint(points).astype(np.int32)], 1.0)
    alpha = cv2.GaussianBlur(alpha, (0, 0), size * rng.uniform(0.008, 0.03))
    alpha *= np.float32(rng.uniform(0.25, 0.7))
    image += alpha[..., None] * (_colour(rng, (0, 0.8), (0.1, 1)) - image)


def _add_lines(rng: Rng, image: Array) -> None:
    """Blend a few thin lines into ``image`` in place."""
    size = len(image)
    drawn = image.copy()
    for ends in rng.integers(0, size, (rng.integers(0, 6), 2, 2)):
        colour = tuple(map(float, _colour(rng, (0, 0.7), (0.1, 1))))
        first, last = (tuple(map(int, end)) for end in ends)
        cv2.line(drawn, first, last, colour, int(rng.integers(1, 3)))
    image += np.float32(rng.uniform(0.25, 0.6)) * (drawn - image)


def _background(rng: Rng, size: int, textured: bool = False) -> Array:
    """Return (size, size, 3) clutter in 0..255.

    Args:
        textured: Blend a texture in now and then.
    """
    first, second = (_colour(rng, (0, 0.6), (0.2, 0.95)) for _ in range(2))
    centre = np.full(2, size / 2, np.float32)
    ramp = _axes(size, centre, rng.uniform(0, 2 * np.pi))[0] / size + 0.5
    mix = rng.uniform(0.3, 0.8)
    waves = _smooth_noise(rng, size, int(rng.integers(3, 9)))
    weight = np.clip(mix * ramp + (1 - mix) * waves, 0, 1)[..., None]
    image = (first + weight * (second - first)).astype(np.float32)
    if textured and rng.random() < 0.4:
        kind = VARIED_TEXTURES[rng.integers(1, len(VARIED_TEXTURES))]
        pattern = _texture(rng, kind, size, centre, size * rng.uniform(.2, 1))
        pattern *= np.float32(rng.uniform(0.2, 0.8))
        image += pattern * (_colour(rng, (0, 0.8), (0.1, 1)) - image)
    for _ in range(rng.integers(1, 5)):
        _add_blob(rng, image)
    _add_lines(rng, image)
    speckle = rng.standard_normal((size, size, 1), np.float32)
    image += np.float32(rng.uniform(2, 11)) * speckle
    return np.clip(image, 0, 255)


def _coverage(contours: list[Array], size: int) -> Array:
    """Return the (size, size) share of each pixel inside ``contours``."""
    fine = np.zeros((size * _SUPERSAMPLE,) * 2, np.uint8)
    shift = 4
    # Pixel k spans k..k+1 and OpenCV puts its centre at k: hence the half.
    scaled = [np.rint((c * _SUPERSAMPLE - 0.5) * 2 ** shift).astype(np.int32)
              for c in contours]
    cv2.fillPoly(fine, scaled, 255, shift=shift)
    coarse = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
    return coarse.astype(np.float32) / 255


@dataclass
class _Draft:
    """An object before painting: what it covers and where it is."""

    alpha: Array
    corners: Array
    centre: Array
    extent: float


def _draft(rng: Rng, name: str, size: int, extents: tuple[float, float],
           turn_limit: float = np.pi, stretch: float = 1.0) -> _Draft:
    """Pick the scale, rotation and place of one object inside the image."""
    extent = float(rng.uniform(*extents))
    folds = FOLDS.get(name, 1)
    angle = 0.0
    if folds:
        angle = float(rng.uniform(-turn_limit, turn_limit)) / folds
    cos, sin = np.cos(angle), np.sin(angle)
    turn = extent * np.asarray([[cos, sin], [-sin, cos]], np.float32)
    if stretch > 1:
        turn[1] *= np.exp(rng.uniform(-1, 1) * np.log(stretch))
        turn *= min(1, extent / np.linalg.norm(turn[1]))
    w, h = np.abs(OUTLINES[name][0]).max(0)
    box = np.asarray([(-w, -h), (w, -h), (w, h), (-w, h)]) @ turn
    reach = np.abs(box).max(0) + 1
    centre = rng.uniform(reach, size - reach).astype(np.float32)
    alpha = _coverage([c @ turn + centre for c in OUTLINES[name]], size)
    return _Draft(alpha, (box + centre).astype(np.float32), centre, extent)


def _paint(rng: Rng, image: Array, draft: _Draft,
           textures: Sequence[str] = TEXTURES) -> None:
    """Blend a textured object into ``image`` in place."""
    below = image[draft.alpha >= 0.5].mean(0)
    first, second = (_contrasting(rng, below) for _ in range(2))
    kind = textures[rng.integers(len(textures))]
    weight = _texture(rng, kind, len(image), draft.centre, draft.extent)
    colour = first + weight * (second - first)
    grain = 4 * rng.standard_normal(weight.shape, np.float32)
    image += draft.alpha[..., None] * (colour + grain - image)


def _add_shadow(rng: Rng, image: Array, draft: _Draft) -> None:
    """Darken where an object's shadow falls, before it is painted."""
    size = len(image)
    dx, dy = rng.uniform(-0.05, 0.05, 2) * size
    move = np.asarray([[1, 0, dx], [0, 1, dy]], np.float32)
    alpha = cv2.warpAffine(draft.alpha, move, (size, size))
    alpha = cv2.GaussianBlur(alpha, (0, 0), size * rng.uniform(0.005, 0.03))
    image *= 1 - np.float32(rng.uniform(0.2, 0.6)) * alpha[..., None]


def _add_relief(rng: Rng, image: Array, draft: _Draft) -> None:
    """Shade a painted object from one side, or draw its rim."""
    alpha = draft.alpha[..., None]
    if rng.random() < 0.5:
        u = _axes(len(image), draft.centre, rng.uniform(0, 2 * np.pi))[0]
        light = 1 + np.float32(rng.uniform(0.2, 0.8)) * u / draft.extent
        image *= 1 + alpha * (light[..., None] - 1)
        return
    width = int(rng.integers(2, 5))
    inner = cv2.erode(draft.alpha, np.ones((width, width), np.uint8))
    rim = (draft.alpha - inner)[..., None]
    image += rim * (_colour(rng, (0, 1), (0, 1)) - image)


def _finish(rng: Rng, image: Array) -> Array:
    """Return the picture with another contrast, tint and sharpness."""
    tint = rng.uniform(0.8, 1.2, 3).astype(np.float32)
    level = np.float32(rng.uniform(0.5, 1.2))
    image = (image - 128) * level * tint + 128 + rng.uniform(-30, 30)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    return image.astype(np.float32)


def _fits(mask: NDArray[np.bool_], below: list[SceneObject],
          areas: list[int]) -> bool:
    """Tell whether a new object leaves the earlier ones visible enough."""
    for item, area in zip(below, areas, strict=True):
        if (item.mask & ~mask).sum() < MIN_VISIBLE * area:
            return False
    shared = sum((item.mask & mask).sum() for item in below)
    return bool(shared <= MAX_OVERLAP * mask.sum())


def _as_bytes(image: Array) -> NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def render_scene(rng: Rng, size: int) -> Scene:
    """Draw a picture of one to five target objects.

    An object that would hide too much of earlier ones is tried elsewhere and
    left out, unpainted, when no place is found.

    Args:
        rng: The only source of randomness.
        size: Side of the square picture in pixels, 32 or more.
    """
    image = _background(rng, size)
    extents = (min(18, size / 3), min(56, size / 2))
    objects: list[SceneObject] = []
    areas: list[int] = []
    for _ in range(rng.integers(1, 6)):
        label = int(rng.integers(len(TARGET_CLASSES)))
        for _ in range(_PLACE_TRIES):
            draft = _draft(rng, TARGET_CLASSES[label], size, extents)
            mask = draft.alpha >= 0.5
            if not _fits(mask, objects, areas):
                continue
            for item in objects:
                item.mask = item.mask & ~mask
            objects.append(SceneObject(label, mask, draft.corners))
            areas.append(int(mask.sum()))
            _paint(rng, image, draft)
            break
    return Scene(_as_bytes(image), objects)


def _calm_background(rng: Rng, size: int) -> Array:
    """Return (size, size, 3) of one colour with a little noise in 0..255."""
    image = np.full((size, size, 3), _colour(rng, (0, 0.6), (0.2, 0.95)),
                    np.float32)
    image += 3 * rng.standard_normal((size, size, 1), np.float32)
    return np.clip(image, 0, 255)


def render_single(rng: Rng, name: str, size: int = SINGLE_SIZE,
                  varied: bool = False) -> NDArray[np.uint8]:
    """Draw one object of a named class; (size, size, 3) uint8 in RGB.

    Source classes are drawn calmly (plain backgrounds, plain fillings, little
    rotation), so that a network that starts from nothing learns them within
    minutes; what has learnt that goes on with varied ones.

    Args:
        rng: The only source of randomness.
        name: A target or source class.
        size: Side of the square picture in pixels.
        varied: Draw any class with more or less clutter, textures that
            target classes do not have, rotation, other proportions, shadows,
            rims, shading, tints and blur.

    Raises:
        ValueError: If ``name`` is not a known class.
    """
    if name not in OUTLINES:
        raise ValueError(f'name={name!r}: expected one of {list(OUTLINES)}')
    if varied:
        return _render_varied(rng, name, size)
    calm = name in SOURCE_CLASSES
    image = (_calm_background if calm else _background)(rng, size)
    draft = _draft(rng, name, size, (size * 0.38, size * 0.66),
                   _CALM_TURN if calm else np.pi)
    _paint(rng, image, draft, _CALM_TEXTURES if calm else TEXTURES)
    return _as_bytes(image)


def _render_varied(rng: Rng, name: str, size: int) -> NDArray[np.uint8]:
    # From calm to hard, most of them calm: from hard ones alone, nothing is
    # learnt.
    hard = np.float32(rng.random()**2)
    image = _calm_background(rng, size)
    image += hard * (_background(rng, size, textured=True) - image)
    draft = _draft(rng, name, size,
                   (size * (0.38 - 0.1 * hard), size * 0.66),
                   _CALM_TURN + hard * (np.pi - _CALM_TURN),
                   1 + hard * (_STRETCH - 1))
    if rng.random() < 0.5 * hard:
        _add_shadow(rng, image, draft)
    _paint(rng, image, draft,
           VARIED_TEXTURES if rng.random() < hard else _CALM_TEXTURES)
    if rng.random() < 0.5 * hard:
        _add_relief(rng, image, draft)
    return _as_bytes(image + hard * (_finish(rng, image) - image))
