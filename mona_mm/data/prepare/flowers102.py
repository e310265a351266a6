"""Oxford Flowers-102."""
from typing import List

from .base import Archive, Preparer
from .checks import broken, missing, total

URL = 'https://www.robots.ox.ac.uk/~vgg/data/flowers/102/'
_SPLITS = dict(train='trnid', val='valid', test='tstid')


class Flowers102(Preparer):
    """102 classes; the splits of the paper are those of the dataset."""

    name = 'flowers102'
    folder = 'flowers102'
    page = URL
    licence = 'not stated'
    archives = (
        Archive('102flowers.tgz', URL + '102flowers.tgz', 0.35,
                '52808999861908f626f3c1f4e79d11fa'),
        Archive('imagelabels.mat', URL + 'imagelabels.mat', 0.001,
                'e0620be6f572b9609742df49c70aed4d'),
        Archive('setid.mat', URL + 'setid.mat', 0.001,
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
        return self._compare(labels, ids)

    def _compare(self, labels: List[int], ids: dict) -> List[str]:
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
