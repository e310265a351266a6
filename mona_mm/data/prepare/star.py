"""STAR: patches for training, whole pictures for the test."""
from pathlib import Path
from typing import Dict, List

from .aerial import cut, read_labels, wrong_labels
from .checks import broken, same, total
from .files import link, names, read_lines, write_lines
from .rotated import DOTA


class STAR(DOTA):
    """Rotated boxes of 48 classes, labels written as DOTA's.

    As in STAR-MMRotate the validation split is not used. Test pictures are
    linked where the disk allows it, not copied.
    """

    name = 'star'
    folder = 'STAR'
    page = 'https://linlin-dev.github.io/project/STAR'
    licence = 'as its page says'
    by_hand = (f'Download it as {page} says into SOURCE/train and '
               'SOURCE/test (zip files, or what they hold: pictures and '
               'object-TXT)')
    splits = ('train', 'test')
    expected = dict(train=771, test=264)

    @property
    def classes(self) -> tuple:
        """The 48 classes."""
        from mona_mm.data.datasets.star import CLASSES
        return CLASSES

    def arrange(self, split: str, pictures: Dict[str, Path],
                labels: Dict[str, Path]) -> None:
        """Cut the training pictures, and link those of the test."""
        self._compare(split, pictures, labels, True)
        if split == 'train':
            cut(pictures, labels, self.root / split, self.progress)
        else:
            for name, path in pictures.items():
                link(path, self.root / f'test/images/{path.name}')
                # Without the header, which mmrotate does not expect.
                write_lines(self.root / f'test/annfiles/{name}.txt',
                            [la.line() for la in read_labels(labels[name])])
        write_lines(self.root / f'{split}.txt', sorted(pictures))

    def check(self) -> List[str]:
        """Compare patches, labels, whole pictures and lists."""
        problems = []
        for split in self.splits:
            listed = self.root / f'{split}.txt'
            found = read_lines(listed) if listed.is_file() else []
            problems += total(f'{listed}, pictures', len(found),
                              self.expected[split])
            if split == 'train':
                problems += self._check_patches(split, set(found))
            else:
                problems += self._check_whole(set(found))
        return problems

    def _check_whole(self, pictures: set) -> List[str]:
        root = self.root / 'test'
        there = names(root / 'images', '.png')
        files = names(root / 'annfiles', '.txt')
        return [
            *same(f'{root}', there, pictures, ('images', 'the list')),
            *same(f'{root}', there, files, ('images', 'annfiles')),
            *broken((root / f'images/{n}.png' for n in there),
                    self.progress),
            *wrong_labels([root / f'annfiles/{n}.txt' for n in files],
                          self.classes, self.progress),
        ]
