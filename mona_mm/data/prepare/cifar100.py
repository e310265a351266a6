"""CIFAR-100."""
from typing import List

from mona_mm.errors import ConfigError

from .base import Archive, Preparer
from .checks import missing
from .download import checksum


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
