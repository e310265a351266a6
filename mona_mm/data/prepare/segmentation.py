"""ISPRS Potsdam, cut into tiles of 512."""
from pathlib import Path
from typing import Dict, List, Optional

import cv2
import numpy as np
from tqdm import tqdm

from mona_mm.data.tiling import windows
from mona_mm.errors import ConfigError
from mona_mm.text import write_atomically

from .base import Archive, Preparer
from .checks import broken, same, total
from .files import names
from .pictures import picture_size, read_picture

#: The customary division of the 38 large tiles.
VAL = frozenset('2_13 2_14 3_13 3_14 4_13 4_14 4_15 5_13 5_14 5_15 6_13 6_14 '
                '6_15 7_13'.split())
#: Colours (R, G, B) of the classes, in order; the rest, black edges too, is 0.
COLOURS = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0),
           (255, 255, 0), (255, 0, 0))
SIZE = 512
_ENDINGS = dict(_RGB='image', _label_noBoundary='label')


class Potsdam(Preparer):
    """Masks of 6 classes; class i is stored as i + 1, 0 is ignored.

    As in mmseg's documentation 144 tiles are cut from each of 24 and 14
    large ones; they do not overlap but at the far borders.
    """

    name = 'potsdam'
    folder = 'potsdam'
    page = ('https://www.isprs.org/education/benchmarks/UrbanSemLab/'
            '2d-sem-label-potsdam.aspx')
    licence = 'research only, on request'
    by_hand = f'Ask for it at {page}'
    archives = (
        Archive('2_Ortho_RGB.zip', gigabytes=3.4, folder='raw'),
        Archive('5_Labels_all_noBoundary.zip', gigabytes=0.02, folder='raw'),
    )
    expected = dict(train=3_456, val=2_016)

    def place(self, archive: Archive, member: str) -> Optional[str]:
        """Keep the large tiles, flat."""
        name = member.split('/')[-1]
        return f'raw/{name}' if name.endswith('.tif') else None

    def finish(self) -> None:
        """Cut every large tile, pictures and labels alike."""
        pairs = _pairs(self.root / 'raw')
        for tile, files in tqdm(pairs.items(), desc='cutting', unit=' tiles',
                                disable=not self.progress):
            split = 'val' if tile in VAL else 'train'
            places = (self.root / 'img_dir' / split,
                      self.root / 'ann_dir' / split)
            _cut(tile, files, places)

    def check(self) -> List[str]:
        """Compare pictures and masks of both splits."""
        problems = []
        for split in ('train', 'val'):
            images, masks = (self.root / kind / split
                             for kind in ('img_dir', 'ann_dir'))
            found, masked = names(images, '.png'), names(masks, '.png')
            problems += [
                *total(f'{images}', len(found), self.expected[split]),
                *same(split, found, masked, (str(images), str(masks))),
                *broken([*(images / f'{n}.png' for n in found),
                         *(masks / f'{n}.png' for n in masked)],
                        self.progress),
            ]
        return problems


def _pairs(raw: Path) -> Dict[str, Dict[str, Path]]:
    """{large tile: its picture and its labels}"""
    pairs: Dict[str, Dict[str, Path]] = {}
    for path in sorted(raw.glob('*.tif')):
        for ending, kind in _ENDINGS.items():
            if path.stem.endswith(ending):
                tile = '_'.join(path.stem[:-len(ending)].split('_')[-2:])
                pairs.setdefault(tile, {})[kind] = path
    halves = [t for t, files in pairs.items() if len(files) < 2]
    if halves:
        raise ConfigError(f'potsdam: {raw} has only the picture or only the '
                          f'labels of the tiles {halves}')
    return pairs


def _cut(tile: str, files: Dict[str, Path], places: tuple) -> None:
    image = labels = None
    size = picture_size(files['image'])
    for x1, y1, x2, y2 in windows(*size, SIZE, 0):
        targets = [p / f'{tile}_{x1}_{y1}.png' for p in places]
        if all(t.is_file() for t in targets):
            continue
        if image is None:
            image = read_picture(files['image'])
            labels = to_labels(read_picture(files['label'])[..., ::-1])
            if image.shape[:2] != labels.shape:
                raise ConfigError(f'potsdam: {files["image"]} and '
                                  f'{files["label"]} differ in size')
        for target, pixels in zip(targets, (image, labels)):
            if not target.is_file():
                _write(target, pixels[y1:y2, x1:x2])


def _write(path: Path, pixels: np.ndarray) -> None:
    with write_atomically(path) as partial:
        Path(partial).write_bytes(cv2.imencode('.png', pixels)[1].tobytes())


def to_labels(colours: np.ndarray) -> np.ndarray:
    """Turn a colour picture (H, W, 3) in RGB into labels (H, W)."""
    labels = np.zeros(colours.shape[:2], np.uint8)
    for i, colour in enumerate(COLOURS, 1):
        labels[(colours == colour).all(-1)] = i
    return labels
