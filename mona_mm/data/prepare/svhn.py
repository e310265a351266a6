"""SVHN, cropped digits."""
from typing import List

from mona_mm.errors import ConfigError

from .base import Archive, Preparer
from .checks import total

URL = 'http://ufldl.stanford.edu/housenumbers/'


class SVHNDigits(Preparer):
    """Ten digits, pictures of 32 x 32; the extra set is not needed."""

    name = 'svhn'
    folder = 'svhn'
    page = URL
    licence = 'non-commercial use only'
    archives = (
        Archive('train_32x32.mat', URL + 'train_32x32.mat', 0.18,
                'e26dedcc434d2e4c54c9b2d4a06d8373'),
        Archive('test_32x32.mat', URL + 'test_32x32.mat', 0.06,
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
