"""LoveDA: land cover in town and country."""
from typing import List, Optional

from .base import Archive, Preparer
from .checks import broken, same, total
from .files import names

URL = 'https://zenodo.org/records/5706578/files/'
_KINDS = dict(images_png='img_dir', masks_png='ann_dir')


class LoveDA(Preparer):
    """Masks of 7 classes; the test's are secret, so it is left out."""

    name = 'loveda'
    folder = 'loveDA'
    page = 'https://github.com/Junjue-Wang/LoveDA'
    licence = 'CC BY-NC-SA 4.0'
    archives = (
        Archive('Train.zip', URL + 'Train.zip', 4.0,
                'de2b196043ed9b4af1690b3f9a7d558f', 'train'),
        Archive('Val.zip', URL + 'Val.zip', 2.4,
                '84cae2577468ff0b5386758bb386d31d', 'val'),
    )
    expected = dict(train=2_522, val=1_669)

    def place(self, archive: Archive, member: str) -> Optional[str]:
        """Put town and country together: their names do not collide."""
        parts = member.split('/')
        if len(parts) < 2 or not parts[-1].endswith('.png'):
            return None
        kind = _KINDS.get(parts[-2])
        return kind and f'{kind}/{archive.folder}/{parts[-1]}'

    def check(self) -> List[str]:
        """Compare pictures and masks of both splits."""
        problems = []
        for split in ('train', 'val'):
            images, masks = (self.root / kind / split
                             for kind in _KINDS.values())
            found, masked = names(images, '.png'), names(masks, '.png')
            problems += [
                *total(f'{images}', len(found), self.expected[split]),
                *same(split, found, masked, (str(images), str(masks))),
                *broken([*(images / f'{n}.png' for n in found),
                         *(masks / f'{n}.png' for n in masked)],
                        self.progress),
            ]
        return problems
