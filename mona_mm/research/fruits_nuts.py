"""Label pictures of fruits_nuts, for segmentation."""
import shutil
from pathlib import Path
from typing import Dict, List

import cv2
import numpy as np

from mona_mm.errors import ConfigError

CLASSES = ('date', 'fig', 'hazelnut')


def split(names: List[str]) -> Dict[str, List[str]]:
    """Which pictures are for what.

    Of every three pictures, in the order of their numbers, the third is for
    testing; of every three of the others the third is for choosing.

    Args:
        names (list[str]): Of the pictures, in order.

    Returns:
        dict[str, list[str]]: ``trainval``, which is ``train`` and ``val``,
        and ``test``.
    """
    found = dict(trainval=[n for i, n in enumerate(names) if i % 3 != 2],
                 test=names[2::3])
    found['train'] = [
        n for i, n in enumerate(found['trainval']) if i % 3 != 2]
    found['val'] = found['trainval'][2::3]
    return found


def make_masks(source: str, out: str) -> None:
    """Write pictures, labels (0: background) and lists of names.

    Args:
        source (str): Folder with ``images`` and ``trainval.json``, COCO
            instances.
        out (str): Folder to write; nothing is done if it is complete.

    Raises:
        ConfigError: If the source is not there or has other classes.
    """
    from pycocotools.coco import COCO
    target, file = Path(out), Path(source, 'trainval.json')
    if all((target / f'{part}.txt').is_file() for part in split([])):
        return
    if not file.is_file():
        raise ConfigError(
            f'{file} does not exist; expected COCO instances of '
            f'{", ".join(CLASSES)} there, and their pictures in images/')
    coco = COCO(str(file))
    names = tuple(coco.cats[i]['name'] for i in sorted(coco.cats))
    if names != CLASSES:
        raise ConfigError(f'{file}: expected the classes '
                          f'{", ".join(CLASSES)}, found {", ".join(names)}')
    place = {i: label for label, i in enumerate(sorted(coco.cats), 1)}
    images = sorted(coco.imgs.values(), key=lambda image: int(
        Path(image['file_name']).stem))
    for folder in ('images', 'annotations'):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for image in images:
        labels = np.zeros((image['height'], image['width']), np.uint8)
        for ann in coco.imgToAnns[image['id']]:
            labels[coco.annToMask(ann) > 0] = place[ann['category_id']]
        name = Path(image['file_name'])
        cv2.imwrite(str(target / f'annotations/{name.stem}.png'), labels)
        shutil.copy(Path(source, 'images', name), target / 'images')
    for part, chosen in split([Path(image['file_name']).stem
                               for image in images]).items():
        (target / f'{part}.txt').write_text('\n'.join(chosen) + '\n')
