"""Write rendered scenes in the file formats of the OpenMMLab families."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from .scene import TARGET_CLASSES, Scene, SceneObject

Mask = NDArray[np.bool_]

SPLITS = ('train', 'val')
_VOC = Path('VOCdevkit/VOC2007')
_VOC_LISTS = {'train': 'trainval', 'val': 'test'}
_ADE_FOLDERS = {'train': 'training', 'val': 'validation'}
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Encode an image by the suffix of ``path``, making its folder.

    Args:
        path: Where to write; ``.jpg`` or ``.png``.
        image: (H, W, 3) uint8 in RGB order or (H, W) uint8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = image[..., ::-1] if image.ndim == 3 else image
    options = _JPEG if path.suffix == '.jpg' else []
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(pixels), options)
    path.write_bytes(data.tobytes())


def _write_text(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = ''.join(f'{line}\n' for line in lines)
    path.write_text(text, encoding='utf-8', newline='\n')


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON with sorted keys, making the folder."""
    _write_text(path, [json.dumps(value, sort_keys=True)])


def _share(source: Path, target: Path) -> None:
    """Give a file a second name, by copy where links are not possible."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def mask_box(mask: Mask) -> tuple[int, int, int, int]:
    """Return x, y, width and height in pixels of the tight box of a mask.

    Args:
        mask: (H, W) bool with at least one pixel set.
    """
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, w, h


def _outline_edges(contour: NDArray[np.int32], scale: int) -> list[int]:
    """Turn a contour of an enlarged mask into the pixel edges it follows."""
    points = np.rint(contour[:, 0] / scale).astype(int)
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    before = points - np.roll(points, 1, 0)
    after = np.roll(points, -1, 0) - points
    return points[(before != after).any(1)].ravel().tolist()


def mask_polygons(mask: Mask) -> list[list[int]]:
    """Return polygons along pixel edges that cover a mask exactly.

    COCO polygons cannot have holes, so a part with a hole is cut in two
    through it. The areas of the polygons add up to the pixel count.

    Args:
        mask: (H, W) bool.

    Returns:
        One flat list x0, y0, x1, y1, ... in pixels for each part.
    """
    scale = 3
    large = mask.astype(np.uint8).repeat(scale, 0).repeat(scale, 1)
    contours, tree = cv2.findContours(large, cv2.RETR_CCOMP,
                                      cv2.CHAIN_APPROX_NONE)
    polygons: list[list[int]] = []
    for index, contour in enumerate(contours):
        _, _, child, parent = tree[0][index]
        if parent >= 0:
            continue
        if child < 0:
            polygons.append(_outline_edges(contour, scale))
            continue
        part = np.zeros_like(large)
        cv2.drawContours(part, contours, index, 1, cv2.FILLED)
        whole = mask & part[::scale, ::scale].astype(bool)
        cut = int(np.rint(contours[child][:, 0, 0].mean() / scale))
        left = np.arange(mask.shape[1]) < cut
        polygons += mask_polygons(whole & left)
        polygons += mask_polygons(whole & ~left)
    return polygons


def ade_labels(scene: Scene) -> NDArray[np.uint8]:
    """Return (H, W) labels: 0 border, 1 background, 2... the classes.

    The border is the ring of background pixels that touch an object.
    """
    covered = np.zeros(scene.image.shape[:2], np.uint8)
    for item in scene.objects:
        covered |= item.mask.astype(np.uint8)
    labels = 1 - cv2.dilate(covered, np.ones((3, 3), np.uint8))
    for item in scene.objects:
        labels[item.mask] = item.label + 2
    return labels


def _dota_line(item: SceneObject) -> str:
    corners = ' '.join(f'{value:.2f}' for value in item.corners.ravel())
    return f'{corners} {TARGET_CLASSES[item.label]} 0'


def _add_fields(node: ElementTree.Element, **fields: object) -> None:
    for key, value in fields.items():
        ElementTree.SubElement(node, key).text = str(value)


def _voc_xml(name: str, scene: Scene) -> str:
    """Return the Pascal VOC annotation of one image (1-based pixels)."""
    root = ElementTree.Element('annotation')
    _add_fields(root, folder=_VOC.name, filename=f'{name}.jpg')
    height, width, depth = scene.image.shape
    _add_fields(ElementTree.SubElement(root, 'size'), width=width,
                height=height, depth=depth)
    _add_fields(root, segmented=0)
    for item in scene.objects:
        node = ElementTree.SubElement(root, 'object')
        _add_fields(node, name=TARGET_CLASSES[item.label],
                    pose='Unspecified', truncated=0, difficult=0)
        x, y, w, h = mask_box(item.mask)
        _add_fields(ElementTree.SubElement(node, 'bndbox'), xmin=x + 1,
                    ymin=y + 1, xmax=x + w, ymax=y + h)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode')


class SplitWriter:
    """Write the images of one split in every detection-like layout.

    Args:
        root: The folder that holds all layouts.
        split: ``'train'`` or ``'val'``.

    Raises:
        ValueError: If ``split`` is neither.
    """

    def __init__(self, root: Path, split: str) -> None:
        """Make the folders; see the class for the arguments."""
        if split not in SPLITS:
            raise ValueError(f'split={split!r}: expected one of {SPLITS}')
        self.root = root
        self.split = split
        self._names: list[str] = []
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        for folder in self._folders().values():
            folder.mkdir(parents=True, exist_ok=True)

    def _folders(self) -> dict[str, Path]:
        ade, dota = _ADE_FOLDERS[self.split], self.root / 'dota' / self.split
        return {
            'coco': self.root / 'coco' / self.split,
            'voc': self.root / _VOC / 'JPEGImages',
            'voc_xml': self.root / _VOC / 'Annotations',
            'ade': self.root / 'ade/images' / ade,
            'ade_labels': self.root / 'ade/annotations' / ade,
            'dota': dota / 'images',
            'dota_txt': dota / 'labelTxt',
        }

    def add(self, scene: Scene) -> None:
        """Write one scene; only the lists are left to :meth:`close`."""
        name = f'{self.split}_{len(self._names):05d}'
        self._names.append(name)
        to = self._folders()
        jpeg = to['coco'] / f'{name}.jpg'
        write_image(jpeg, scene.image)
        for layout in ('voc', 'ade'):
            _share(jpeg, to[layout] / jpeg.name)
        # Decoded again so that the lossless copy has the very same pixels.
        decoded = np.ascontiguousarray(cv2.imread(str(jpeg))[..., ::-1])
        write_image(to['dota'] / f'{name}.png', decoded)
        write_image(to['ade_labels'] / f'{name}.png', ade_labels(scene))
        _write_text(to['dota_txt'] / f'{name}.txt',
                    map(_dota_line, scene.objects))
        _write_text(to['voc_xml'] / f'{name}.xml', [_voc_xml(name, scene)])
        self._add_coco(jpeg.name, scene)

    def _add_coco(self, file_name: str, scene: Scene) -> None:
        image_id = len(self._images) + 1
        height, width = scene.image.shape[:2]
        self._images.append(dict(id=image_id, file_name=file_name,
                                 width=width, height=height))
        for item in scene.objects:
            self._annotations.append(dict(
                id=len(self._annotations) + 1, image_id=image_id,
                category_id=item.label + 1, iscrowd=0,
                bbox=list(mask_box(item.mask)), area=int(item.mask.sum()),
                segmentation=mask_polygons(item.mask)))

    def close(self) -> int:
        """Write the COCO file and the VOC list; return the object count."""
        categories = [dict(id=i, name=name, supercategory='shape')
                      for i, name in enumerate(TARGET_CLASSES, 1)]
        write_json(
            self.root / f'coco/annotations/instances_{self.split}.json',
            dict(info=dict(description='mona_mm shapes'), licenses=[],
                 categories=categories, images=self._images,
                 annotations=self._annotations))
        listed = f'ImageSets/Main/{_VOC_LISTS[self.split]}.txt'
        _write_text(self.root / _VOC / listed, self._names)
        return len(self._annotations)
