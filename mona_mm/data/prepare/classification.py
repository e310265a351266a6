"""ImageNet-R, with a split of our own."""
from hashlib import sha256
from typing import List, Optional, Tuple

from .base import Archive, Preparer
from .checks import broken, missing, same, total
from .files import read_lines, write_lines

#: Share of each class that is kept for the test.
TEST_SHARE = 0.2


class ImageNetRSplit(Preparer):
    """200 classes, 30,000 renditions; no split is published with them.

    The usual choice of those who train on it is 80 : 20. Here the pictures of
    each class are ordered by the hash of their names and the first fifth is
    the test, so everyone gets the same split.
    """

    name = 'imagenet_r'
    folder = 'imagenet-r'
    page = 'https://github.com/hendrycks/imagenet-r'
    licence = 'MIT; pictures: their owners\' terms'
    archives = (Archive(
        'imagenet-r.tar',
        'https://people.eecs.berkeley.edu/~hendrycks/imagenet-r.tar', 2.2,
        'a61312130a589d0ca1a8fca1f2bd3337'), )
    expected = dict(classes=200, pictures=30_000)

    def place(self, archive: Archive, member: str) -> Optional[str]:
        """Drop the archive's own top folder, and its notes."""
        inner = member.split('/', 1)[-1]
        return inner if '/' in inner and inner.startswith('n') else None

    def finish(self) -> None:
        """Write the lists of both splits."""
        train, test = split(self._pictures())
        write_lines(self.root / 'meta/train.txt', train)
        write_lines(self.root / 'meta/test.txt', test)

    def check(self) -> List[str]:
        """Compare lists and pictures."""
        paths = [self.root / f'meta/{s}.txt' for s in ('train', 'test')]
        if problems := missing(paths):
            return problems
        train, test = map(read_lines, paths)
        there = self._pictures()
        return [
            *total('classes', len({n.split('/')[0] for n in there}),
                   self.expected['classes']),
            *total('pictures', len(there), self.expected['pictures']),
            *total('in both lists', len(set(train) & set(test)), 0),
            *same('pictures', train + test, there, ('the lists', 'folders')),
            *broken((self.root / n for n in there), self.progress),
        ]

    def _pictures(self) -> List[str]:
        from mona_mm.data.datasets.imagenet_r import class_folders, pictures
        return pictures(str(self.root), class_folders(str(self.root)))


def split(names: List[str]) -> Tuple[List[str], List[str]]:
    """Divide names ``class/picture`` into training and test, per class."""
    classes = {}
    for name in names:
        classes.setdefault(name.split('/')[0], []).append(name)
    train, test = [], []
    for members in classes.values():
        ordered = sorted(
            members, key=lambda n: sha256(n.encode()).hexdigest())
        cut = round(TEST_SHARE * len(ordered))
        test += ordered[:cut]
        train += ordered[cut:]
    return sorted(train), sorted(test)
