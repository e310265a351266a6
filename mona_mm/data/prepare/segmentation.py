"""Pictures with masks: what each dataset is, and how it is arranged."""
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np
from tqdm import tqdm

from mona_mm.data.tiling import windows
from mona_mm.errors import ConfigError

from .base import Archive, Preparer
from .checks import broken, same, total
from .files import names
from .pictures import picture_size, read_picture, write_png

URL = 'https://zenodo.org/records/5706578/files/'
_KINDS = dict(images_png='img_dir', masks_png='ann_dir')
#: The customary division of the 38 large tiles.
VAL = frozenset('2_13 2_14 3_13 3_14 4_13 4_14 4_15 5_13 5_14 5_15 6_13 6_14 '
                '6_15 7_13'.split())
#: Colours (R, G, B) of the classes, in order; the rest, black edges too, is 0.
COLOURS = ((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0),
           (255, 255, 0), (255, 0, 0))
SIZE = 512
_ENDINGS = dict(_RGB='image', _label_noBoundary='label')


class Masked(Preparer):
    """Datasets with a folder of pictures and one of masks for each split."""

    #: Where the pictures of a split are, and how their names end.
    images: Tuple[str, str] = ('img_dir/{}', '.png')
    #: The same of its masks.
    masks: Tuple[str, str] = ('ann_dir/{}', '.png')

    def check(self) -> List[str]:
        """Compare pictures and masks of all splits."""
        problems = []
        for split, count in self.expected.items():
            images, masks = (self.root / place.format(split)
                             for place, _ in (self.images, self.masks))
            found = names(images, self.images[1])
            masked = names(masks, self.masks[1])
            problems += [
                *total(f'{images}', len(found), count),
                *same(split, found, masked, (str(images), str(masks))),
                *broken([*(images / (n + self.images[1]) for n in found),
                         *(masks / (n + self.masks[1]) for n in masked)],
                        self.progress),
            ]
        return problems


class ADE20K(Masked):
    """Masks of 150 classes, as the scene parsing challenge of 2016 cut it."""

    name = 'ade20k'
    folder = 'ade'
    page = 'https://groups.csail.mit.edu/vision/datasets/ADE20K'
    licence = 'research and education only'
    archives = (Archive(
        'ADEChallengeData2016.zip',
        'http://data.csail.mit.edu/places/ADEchallenge/'
        'ADEChallengeData2016.zip', 0.92), )
    images = 'ADEChallengeData2016/images/{}', '.jpg'
    masks = 'ADEChallengeData2016/annotations/{}', '.png'
    expected = dict(training=20_210, validation=2_000)


class LoveDA(Masked):
    """Masks of 7 classes; the test's are secret, so it is left out."""

    name = 'loveda'
    folder = 'loveDA'
    page = 'https://github.com/Junjue-Wang/LoveDA'
    licence = 'CC BY-NC-SA 4.0'
    archives = (
        Archive('Train.zip', URL + 'Train.zip', 4.0,
                'de2b196043ed9b4af1690b3f9a7d558f', 'train'),
        Archive('Val.zip', URL + 'Val.zip', 2.4,
                '84cae2577468ff0b5386758bb386d31d', 'val'),
    )
    expected = dict(train=2_522, val=1_669)

    def place(self, archive: Archive, member: str) -> Optional[str]:
        """Put town and country together: their names do not collide."""
        parts = member.split('/')
        if len(parts) < 2 or not parts[-1].endswith('.png'):
            return None
        kind = _KINDS.get(parts[-2])
        return kind and f'{kind}/{archive.folder}/{parts[-1]}'


class Potsdam(Masked):
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
                write_png(target, pixels[y1:y2, x1:x2])


def to_labels(colours: np.ndarray) -> np.ndarray:
    """Turn a colour picture (H, W, 3) in RGB into labels (H, W)."""
    labels = np.zeros(colours.shape[:2], np.uint8)
    for i, colour in enumerate(COLOURS, 1):
        labels[(colours == colour).all(-1)] = i
    return labels
