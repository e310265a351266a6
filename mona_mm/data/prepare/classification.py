"""Pictures of classes: what each dataset is, and how it is checked."""
from hashlib import sha256
from typing import List, Optional, Tuple

from mona_mm.errors import ConfigError
from mona_mm.text import some

from .base import Archive, Preparer
from .checks import broken, missing, same, total
from .download import checksum
from .files import read_lines, write_lines


class Listed(Preparer):
    """Datasets whose splits are text files with one picture a line."""

    #: Where the list of a split is.
    list_of = ''
    #: The known totals that are of splits.
    splits: Tuple[str, ...] = ()

    def picture_and_class(self, line: str) -> Tuple[str, str]:
        """What a line means: the picture's path, and its class."""
        raise NotImplementedError

    def check(self) -> List[str]:
        """Compare lists and pictures."""
        problems, seen = [], []
        for split in self.splits:
            path = self.root / self.list_of.format(split)
            if not path.is_file():
                problems += missing([path])
                continue
            rows = [self.picture_and_class(x) for x in read_lines(path)]
            problems += total(str(path), len(rows), self.expected[split])
            problems += total(f'{path}, classes', len({c for _, c in rows}),
                              self.expected['classes'])
            problems += broken((self.root / p for p, _ in rows),
                               self.progress)
            seen.append({p for p, _ in rows})
        both = set.intersection(*seen) if len(seen) == 2 else ()
        return problems + [
            f'in both splits: {some(sorted(both), 4)}'] * bool(both)


class Food101(Listed):
    """101 dishes."""

    name = 'food101'
    folder = 'food-101'
    page = 'https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/'
    licence = 'pictures: Foodspotting terms'
    archives = (Archive(
        'food-101.tar.gz',
        'http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz', 5.0,
        '85eeb15f3717b99a5da872d97d918f87'), )
    list_of, splits = 'meta/{}.txt', ('train', 'test')
    expected = dict(train=75_750, test=25_250, classes=101)

    def place(self, archive: Archive, member: str) -> Optional[str]:
        """Drop the archive's own top folder."""
        return member.split('/', 1)[1] if '/' in member else None

    def picture_and_class(self, line: str) -> Tuple[str, str]:
        """``apple_pie/1005649``."""
        return f'images/{line}.jpg', line.split('/')[0]


class OxfordPets(Listed):
    """37 breeds; the splits of the paper are those of the dataset."""

    name = 'oxfordpets'
    folder = 'Oxford-IIIT_Pets'
    page = 'https://www.robots.ox.ac.uk/~vgg/data/pets/'
    licence = 'CC BY-SA 4.0'
    archives = (
        Archive('images.tar.gz', page + 'data/images.tar.gz', 0.79,
                '5c4f3ee8e5d25df40f4fd59a7f44e54c'),
        Archive('annotations.tar.gz', page + 'data/annotations.tar.gz', 0.02,
                '95a8c909bbe2e81eed6a22bccdf3f68f'),
    )
    list_of, splits = 'annotations/{}.txt', ('trainval', 'test')
    expected = dict(trainval=3_680, test=3_669, classes=37)

    def picture_and_class(self, line: str) -> Tuple[str, str]:
        """``Abyssinian_100 1 1 1``: name, class, species, breed."""
        name, kind = line.split()[:2]
        return f'images/{name}.jpg', kind


class CIFAR100(Preparer):
    """100 classes, 50,000 and 10,000 pictures of 32 x 32.

    The files are pickles: they are compared by checksum and never opened
    here, because a pickle of somebody else's can run code.
    """

    name = 'cifar100'
    folder = 'cifar100'
    page = 'https://www.cs.toronto.edu/~kriz/cifar.html'
    licence = 'not stated'
    archives = (Archive(
        'cifar-100-python.tar.gz',
        'https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz', 0.17,
        'eb9058c3a382ffc7106e4002c42a8d85'), )
    expected = dict(
        train='16019d7e3df5f24257cddd939b257f8d',
        test='f0ef6b0ae62326f3e7ffdfab6717acfc',
        meta='7973b15100ade9c7d40fb424638fde48')

    def check(self) -> List[str]:
        """Compare the checksums that mmpretrain demands."""
        problems = []
        for name, md5 in self.expected.items():
            path = self.root / 'cifar-100-python' / name
            if not path.is_file():
                problems += missing([path])
                continue
            try:
                checksum(path, md5, self.progress)
            except ConfigError as error:
                problems.append(str(error))
        return problems


class SVHNDigits(Preparer):
    """Ten digits, pictures of 32 x 32; the extra set is not needed."""

    name = 'svhn'
    folder = 'svhn'
    page = 'http://ufldl.stanford.edu/housenumbers/'
    licence = 'non-commercial use only'
    archives = (
        Archive('train_32x32.mat', page + 'train_32x32.mat', 0.18,
                'e26dedcc434d2e4c54c9b2d4a06d8373'),
        Archive('test_32x32.mat', page + 'test_32x32.mat', 0.06,
                'eb5a983be6a315427106f1b164d9cef3'),
    )
    expected = dict(train=73_257, test=26_032, classes=10)

    def check(self) -> List[str]:
        """Read both files."""
        from mona_mm.data.datasets.svhn import read_mat
        problems = []
        for split in ('train', 'test'):
            path = self.root / f'{split}_32x32.mat'
            try:
                _, labels = read_mat(str(path))
            except ConfigError as error:
                problems.append(str(error))
                continue
            problems += total(str(path), len(labels), self.expected[split])
            problems += total(f'{path}, classes', len(set(labels.tolist())),
                              self.expected['classes'])
        return problems


_SPLITS = dict(train='trnid', val='valid', test='tstid')


class Flowers102(Preparer):
    """102 classes; the splits of the paper are those of the dataset."""

    name = 'flowers102'
    folder = 'flowers102'
    page = 'https://www.robots.ox.ac.uk/~vgg/data/flowers/102/'
    licence = 'not stated'
    archives = (
        Archive('102flowers.tgz', page + '102flowers.tgz', 0.35,
                '52808999861908f626f3c1f4e79d11fa'),
        Archive('imagelabels.mat', page + 'imagelabels.mat', 0.001,
                'e0620be6f572b9609742df49c70aed4d'),
        Archive('setid.mat', page + 'setid.mat', 0.001,
                'a5357ecc9cb78c4bef273ce3793fc85c'),
    )
    expected = dict(pictures=8_189, train=1_020, val=1_020, test=6_149,
                    classes=102)

    def check(self) -> List[str]:
        """Compare labels, splits and pictures."""
        import mat4py
        paths = [self.root / 'imagelabels.mat', self.root / 'setid.mat']
        if problems := missing(paths):
            return problems
        try:
            labels = mat4py.loadmat(str(paths[0]))['labels']
            splits = mat4py.loadmat(str(paths[1]))
            ids = {s: splits[key] for s, key in _SPLITS.items()}
        except Exception as error:  # a damaged file raises anything
            return [f'{paths[0]} or {paths[1]} cannot be read ({error})']
        problems = total('labels', len(labels), self.expected['pictures'])
        problems += total('classes', len(set(labels)),
                          self.expected['classes'])
        for split, numbers in ids.items():
            problems += total(split, len(numbers), self.expected[split])
        used = sorted(n for numbers in ids.values() for n in numbers)
        problems += total('pictures in two splits or in none',
                          len(set(range(1, len(labels) + 1)) ^ set(used)) +
                          len(used) - len(set(used)), 0)
        return problems + broken(
            (self.root / f'jpg/image_{n:05d}.jpg'
             for n in range(1, len(labels) + 1)), self.progress)


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
