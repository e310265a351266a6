"""Food-101."""
from typing import List, Optional

from .base import Archive, Preparer
from .checks import broken, missing, total
from .files import read_lines


class Food101(Preparer):
    """101 dishes."""

    name = 'food101'
    folder = 'food-101'
    page = 'https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/'
    licence = 'pictures: Foodspotting terms'
    archives = (Archive(
        'food-101.tar.gz',
        'http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz', 5.0,
        '85eeb15f3717b99a5da872d97d918f87'), )
    expected = dict(train=75_750, test=25_250, classes=101)

    def place(self, archive: Archive, member: str) -> Optional[str]:
        """Drop the archive's own top folder."""
        return member.split('/', 1)[1] if '/' in member else None

    def check(self) -> List[str]:
        """Compare lists and pictures."""
        problems = []
        for split in ('train', 'test'):
            path = self.root / f'meta/{split}.txt'
            if not path.is_file():
                problems += missing([path])
                continue
            listed = read_lines(path)
            problems += total(str(path), len(listed), self.expected[split])
            problems += total(f'{path}, classes',
                              len({n.split('/')[0] for n in listed}),
                              self.expected['classes'])
            problems += broken((self.root / f'images/{n}.jpg'
                                for n in listed), self.progress)
        return problems
