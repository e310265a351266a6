"""Oxford-IIIT Pets."""
from typing import List

from mona_mm.text import some

from .base import Archive, Preparer
from .checks import broken, missing, total
from .files import read_lines

URL = 'https://www.robots.ox.ac.uk/~vgg/data/pets/data/'


class OxfordPets(Preparer):
    """37 breeds; the splits of the paper are those of the dataset."""

    name = 'oxfordpets'
    folder = 'Oxford-IIIT_Pets'
    page = 'https://www.robots.ox.ac.uk/~vgg/data/pets/'
    licence = 'CC BY-SA 4.0'
    archives = (
        Archive('images.tar.gz', URL + 'images.tar.gz', 0.79,
                '5c4f3ee8e5d25df40f4fd59a7f44e54c'),
        Archive('annotations.tar.gz', URL + 'annotations.tar.gz', 0.02,
                '95a8c909bbe2e81eed6a22bccdf3f68f'),
    )
    expected = dict(trainval=3_680, test=3_669, classes=37)

    def check(self) -> List[str]:
        """Compare lists and pictures."""
        problems, seen = [], {}
        for split in ('trainval', 'test'):
            path = self.root / f'annotations/{split}.txt'
            if not path.is_file():
                problems += missing([path])
                continue
            rows = [line.split() for line in read_lines(path)]
            problems += total(str(path), len(rows), self.expected[split])
            problems += total(f'{path}, classes', len({r[1] for r in rows}),
                              self.expected['classes'])
            problems += broken((self.root / f'images/{r[0]}.jpg'
                                for r in rows), self.progress)
            seen[split] = {r[0] for r in rows}
        both = set.intersection(*seen.values()) if len(seen) == 2 else ()
        if both:
            problems.append(f'in both splits: {some(sorted(both), 4)}')
        return problems
