"""COCO 2017."""
from pathlib import Path
from typing import List

from mona_mm.errors import ConfigError
from mona_mm.text import parse_json

from .base import Archive, Preparer
from .checks import broken, total
from .files import read_text

URL = 'http://images.cocodataset.org/'


class COCO(Preparer):
    """Instances and boxes of 80 classes."""

    name = 'coco'
    folder = 'coco'
    page = 'https://cocodataset.org'
    licence = 'annotations CC BY 4.0; pictures: Flickr terms'
    archives = (
        Archive('train2017.zip', URL + 'zips/train2017.zip', 18),
        Archive('val2017.zip', URL + 'zips/val2017.zip', 0.8),
        Archive('annotations_trainval2017.zip',
                URL + 'annotations/annotations_trainval2017.zip', 0.24),
    )
    expected = dict(train2017=118_287, val2017=5_000, classes=80,
                    train2017_objects=860_001, val2017_objects=36_781)

    def check(self) -> List[str]:
        """Compare pictures and annotations of both splits."""
        problems = []
        for split in ('train2017', 'val2017'):
            problems += self._split(split)
        return problems

    def _split(self, split: str) -> List[str]:
        path = self.root / f'annotations/instances_{split}.json'
        try:
            content = _read(path)
        except ConfigError as error:
            return [str(error)]
        try:
            known = {image['id'] for image in content['images']}
            strays = [a['id'] for a in content['annotations']
                      if a['image_id'] not in known]
            pictures = [self.root / split / image['file_name']
                        for image in content['images']]
            categories = len(content['categories'])
        except (KeyError, TypeError) as error:
            return [f'{path} is no annotation of COCO '
                    f'({type(error).__name__}: {error})']
        return [
            *total(f'{path}, pictures', len(pictures), self.expected[split]),
            *total(f'{path}, objects', len(content['annotations']),
                   self.expected[f'{split}_objects']),
            *total(f'{path}, classes', categories, self.expected['classes']),
            *total(f'{path}, objects of no picture', len(strays), 0),
            *broken(pictures, self.progress),
        ]


def _read(path: Path) -> dict:
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise ConfigError(f'{path} cannot be read ({error})') from error
