"""ADE20K, as the scene parsing challenge of 2016 cut it."""
from typing import List

from .base import Archive, Preparer
from .checks import broken, same, total
from .files import names


class ADE20K(Preparer):
    """Masks of 150 classes."""

    name = 'ade20k'
    folder = 'ade'
    page = 'https://groups.csail.mit.edu/vision/datasets/ADE20K'
    licence = 'research and education only'
    archives = (Archive(
        'ADEChallengeData2016.zip',
        'http://data.csail.mit.edu/places/ADEchallenge/'
        'ADEChallengeData2016.zip', 0.92), )
    expected = dict(training=20_210, validation=2_000)

    def check(self) -> List[str]:
        """Compare pictures and masks of both splits."""
        problems = []
        for split in ('training', 'validation'):
            root = self.root / 'ADEChallengeData2016'
            images, masks = (root / 'images' / split,
                             root / 'annotations' / split)
            found, masked = names(images, '.jpg'), names(masks, '.png')
            problems += [
                *total(f'{images}', len(found), self.expected[split]),
                *same(split, found, masked, (str(images), str(masks))),
                *broken([*(images / f'{n}.jpg' for n in found),
                         *(masks / f'{n}.png' for n in masked)],
                        self.progress),
            ]
        return problems
