"""Rotated boxes: DOTA and STAR, cut into patches."""
import os
from pathlib import Path
from typing import Dict, List

from mona_mm.errors import ConfigError

from .aerial import by_name, cut, read_labels, wrong_labels
from .base import Preparer
from .checks import broken, same, total
from .extract import extract
from .files import link, names, read_lines, remove_leftovers, write_lines

CLASSES = ('plane', 'baseball-diamond', 'bridge', 'ground-track-field',
           'small-vehicle', 'large-vehicle', 'ship', 'tennis-court',
           'basketball-court', 'storage-tank', 'soccer-ball-field',
           'roundabout', 'harbor', 'swimming-pool', 'helicopter')
PICTURES = ('.png', '.jpg', '.bmp', '.tif', '.tiff')


class DOTA(Preparer):
    """DOTA-v1.0: rotated boxes of 15 classes; the test's labels are secret.

    Patches of 1024 with an overlap of 200.

    The archives of different splits have the same names, so the source
    folder needs one folder per split: ``train``, ``val`` and ``test``, each
    with its zip files, or with what they hold.
    """

    name = 'dota'
    folder = 'split_ss_dota'
    page = 'https://captain-whu.github.io/DOTA/dataset.html'
    licence = 'academic use only'
    by_hand = (f'Download it from {page} into SOURCE/train, SOURCE/val and '
               'SOURCE/test (zip files, or what they hold)')
    splits = ('train', 'val', 'test')
    classes = CLASSES
    expected = dict(train=1_411, val=458, test=937)
    #: Where the splits go, and whether that has labels.
    places = dict(train='trainval', val='trainval', test='test')
    labelled = ('trainval', )

    def download(self) -> None:
        """Refuse: the pages hand out links to people only."""
        raise ConfigError(f'{self.name}: cannot be downloaded from here. '
                          f'{self.by_hand}')

    def prepare(self) -> None:
        """Find pictures and labels of every split, and cut them.

        Raises:
            ConfigError: If a split is missing, or a picture has no labels.
        """
        remove_leftovers(self.root)
        for split in self.splits:
            if not os.path.isdir(self.source / split):
                raise ConfigError(f'{self.name}: {self.source / split} does '
                                  f'not exist. {self.by_hand}')
        for split in self.splits:
            remove_leftovers(self._raw(split))
            for archive in sorted((self.source / split).rglob('*.zip')):
                extract(archive, self._raw(split), lambda member: member,
                        self.progress)
            self.arrange(split, self.pictures(split), self.labels(split))

    def arrange(self, split: str, pictures: Dict[str, Path],
                labels: Dict[str, Path]) -> None:
        """Cut a split; train and val go into ``trainval``."""
        self._compare(split, pictures, labels, split != 'test')
        place = self.places[split]
        cut(pictures, labels if place in self.labelled else {},
            self.root / place, self.progress)
        write_lines(self.root / f'{split}.txt', sorted(pictures))

    def check(self) -> List[str]:
        """Compare patches, labels, and the pictures they come from."""
        problems: List[str] = []
        whole: Dict[str, set] = {}
        for split in self.splits:
            listed = self.root / f'{split}.txt'
            found = read_lines(listed) if listed.is_file() else []
            problems += total(f'{listed}, pictures', len(found),
                              self.expected[split])
            whole.setdefault(self.places[split], set()).update(found)
        for place, pictures in whole.items():
            root = self.root / place
            there = names(root / 'images', '.png')
            problems += same(
                f'{root}, pictures', {n.split('__')[0] for n in there},
                pictures, ('images', 'the lists'))
            problems += broken((root / f'images/{n}.png' for n in there),
                               self.progress)
            if place in self.labelled:
                files = names(root / 'annfiles', '.txt')
                problems += same(f'{root}', there, files,
                                 ('images', 'annfiles'))
                problems += wrong_labels(
                    [root / f'annfiles/{n}.txt' for n in files],
                    self.classes, self.progress)
        return problems

    def pictures(self, split: str) -> Dict[str, Path]:
        """Pictures of a split by name, unpacked or as they were found."""
        return self._files(split, lambda p: p.suffix.lower() in PICTURES)

    def labels(self, split: str) -> Dict[str, Path]:
        """Label files of a split by name; those of upright boxes are not."""
        return self._files(
            split, lambda p: p.suffix == '.txt' and not any(
                word in str(p).lower() for word in ('reclabel', 'hbb')))

    def _files(self, split: str, keep) -> Dict[str, Path]:
        return {**by_name(self.source / split, keep),
                **by_name(self._raw(split), keep)}

    def _raw(self, split: str) -> Path:
        return self.root.parent / f'{self.name}_raw' / split

    def _compare(self, split: str, pictures: Dict[str, Path],
                 labels: Dict[str, Path], labelled: bool) -> None:
        problems = total(f'{self.name} {split}, pictures', len(pictures),
                         self.expected[split])
        if labelled:
            problems += same(f'{self.name} {split}', pictures,
                             set(labels) & set(pictures) or set(labels),
                             ('pictures', 'labels'))
        if problems:
            raise ConfigError('; '.join(problems) + f'. Looked in '
                              f'{self.source / split}. {self.by_hand}')


class STAR(DOTA):
    """STAR: rotated boxes of 48 classes, labels written as DOTA's.

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
    places = dict(train='train', test='test')
    labelled = ('train', 'test')

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
