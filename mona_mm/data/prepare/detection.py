"""Upright boxes: what VOC and COCO are, and how they are checked."""
from pathlib import Path
from typing import List, Optional
from xml.etree import ElementTree

from mona_mm.errors import ConfigError
from mona_mm.text import parse_json, some

from .base import Archive, Preparer
from .checks import broken, missing, total
from .files import check_regular, read_lines, read_text

VOC_URL = 'http://host.robots.ox.ac.uk/pascal/VOC/'
COCO_URL = 'http://images.cocodataset.org/'
CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car',
           'cat', 'chair', 'cow', 'diningtable', 'dog', 'horse', 'motorbike',
           'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')
_PARTS = ('Annotations', 'ImageSets', 'JPEGImages')


class VOC(Preparer):
    """Boxes of 20 classes; segmentation masks are left in the archives."""

    name = 'voc'
    folder = 'VOCdevkit'
    page = VOC_URL
    licence = 'pictures: Flickr terms'
    archives = (
        Archive('VOCtrainval_06-Nov-2007.tar',
                VOC_URL + 'voc2007/VOCtrainval_06-Nov-2007.tar', 0.45,
                'c52e279531787c972589f7e41ab4ae64'),
        Archive('VOCtest_06-Nov-2007.tar',
                VOC_URL + 'voc2007/VOCtest_06-Nov-2007.tar', 0.43,
                'b6e924de25625d8de591ea690078ad9f'),
        Archive('VOCtrainval_11-May-2012.tar',
                VOC_URL + 'voc2012/VOCtrainval_11-May-2012.tar', 1.9,
                '6cd6e144f989b92b3379bac3b3de84fd'),
    )
    expected = {'VOC2007/trainval': 5_011, 'VOC2007/test': 4_952,
                'VOC2012/trainval': 11_540}

    def place(self, archive: Archive, member: str) -> Optional[str]:
        """Drop ``VOCdevkit/``, and what the configs do not read."""
        parts = member.split('/')
        if 'VOCdevkit' in parts:
            parts = parts[parts.index('VOCdevkit') + 1:]
        return '/'.join(parts) if parts[1:2] and parts[1] in _PARTS else None

    def check(self) -> List[str]:
        """Compare each split's list, pictures and annotations."""
        problems = []
        for key, count in self.expected.items():
            year, split = key.split('/')
            problems += self._split(self.root / year, split, count)
        return problems

    def _split(self, root: Path, split: str, count: int) -> List[str]:
        listed = root / f'ImageSets/Main/{split}.txt'
        if not listed.is_file():
            return missing([listed])
        names = read_lines(listed)
        paths = [root / f'Annotations/{n}.xml' for n in names]
        bad = [f'{p} ({why})' for p in paths if (why := _wrong(p))]
        return [
            *total(f'{listed}', len(names), count),
            *broken((root / f'JPEGImages/{n}.jpg' for n in names),
                    self.progress),
            *[f'{len(bad)} annotations are wrong: {some(bad, 4)}'] * bool(bad),
        ]


def _wrong(path: Path) -> str:
    try:
        check_regular(path)
        root = ElementTree.parse(path).getroot()
    except (OSError, ValueError, ElementTree.ParseError,
            ConfigError) as error:
        return str(error)
    found = [node.text for node in root.iterfind('object/name')]
    unknown = sorted(set(found) - set(CLASSES))
    if not found:
        return 'no object'
    return f'unknown classes {some(unknown)}' if unknown else ''


class COCO(Preparer):
    """Instances and boxes of 80 classes."""

    name = 'coco'
    folder = 'coco'
    page = 'https://cocodataset.org'
    licence = 'annotations CC BY 4.0; pictures: Flickr terms'
    archives = (
        Archive('train2017.zip', COCO_URL + 'zips/train2017.zip', 18),
        Archive('val2017.zip', COCO_URL + 'zips/val2017.zip', 0.8),
        Archive('annotations_trainval2017.zip',
                COCO_URL + 'annotations/annotations_trainval2017.zip', 0.24),
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
            content = parse_json(read_text(path))
            known = {image['id'] for image in content['images']}
            strays = [a['id'] for a in content['annotations']
                      if a['image_id'] not in known]
            pictures = [self.root / split / image['file_name']
                        for image in content['images']]
            categories = len(content['categories'])
        except ConfigError as error:
            return [str(error)]
        except ValueError as error:
            return [f'{path} cannot be read ({error})']
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
