"""Pascal VOC 2007 and 2012, for detection and for classification."""
from pathlib import Path
from typing import List, Optional
from xml.etree import ElementTree

from mona_mm.errors import ConfigError
from mona_mm.text import some

from .base import Archive, Preparer
from .checks import broken, missing, total
from .files import check_regular, read_lines

URL = 'http://host.robots.ox.ac.uk/pascal/VOC/'
CLASSES = ('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car',
           'cat', 'chair', 'cow', 'diningtable', 'dog', 'horse', 'motorbike',
           'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor')
_PARTS = ('Annotations', 'ImageSets', 'JPEGImages')


class VOC(Preparer):
    """Boxes of 20 classes; segmentation masks are left in the archives."""

    name = 'voc'
    folder = 'VOCdevkit'
    page = URL
    licence = 'pictures: Flickr terms'
    archives = (
        Archive('VOCtrainval_06-Nov-2007.tar',
                URL + 'voc2007/VOCtrainval_06-Nov-2007.tar', 0.45,
                'c52e279531787c972589f7e41ab4ae64'),
        Archive('VOCtest_06-Nov-2007.tar',
                URL + 'voc2007/VOCtest_06-Nov-2007.tar', 0.43,
                'b6e924de25625d8de591ea690078ad9f'),
        Archive('VOCtrainval_11-May-2012.tar',
                URL + 'voc2012/VOCtrainval_11-May-2012.tar', 1.9,
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
        return [
            *total(f'{listed}', len(names), count),
            *broken((root / f'JPEGImages/{n}.jpg' for n in names),
                    self.progress),
            *_annotations([root / f'Annotations/{n}.xml' for n in names]),
        ]


def _annotations(paths: List[Path]) -> List[str]:
    bad = [f'{p} ({reason})' for p in paths
           for reason in [_wrong(p)] if reason]
    if not bad:
        return []
    return [f'{len(bad)} annotations are wrong: {some(bad, 4)}']


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
