"""ImageNet-R: art, cartoons and other renditions of 200 ImageNet classes."""
import os
import os.path as osp
from pathlib import Path
from typing import List

from mmpretrain.datasets import BaseDataset

from mona_mm.errors import ConfigError
from mona_mm.registry import DATASETS

LISTS = {'train': 'meta/train.txt', 'test': 'meta/test.txt'}


@DATASETS.register_module()
class ImageNetR(BaseDataset):
    """ImageNet-R (arXiv 2006.16241): one folder of pictures per class.

    The dataset has no training split: ``tools/prepare_data.py imagenet_r``
    writes one (80 : 20 within each class). Classes are the folders' names
    in alphabetical order.

    Args:
        data_root (str): The folder of the class folders.
        split (str): ``'train'``, ``'test'`` or ``'all'``.
        **kwargs: See mmpretrain's ``BaseDataset``.

    Raises:
        ConfigError: If the split is another one, or was never prepared.
    """

    def __init__(self, data_root: str, split: str = 'train',
                 **kwargs) -> None:
        if split not in (*LISTS, 'all'):
            raise ConfigError(f'ImageNetR: split={split!r}; expected one of '
                              f'{sorted((*LISTS, "all"))}')
        self.split = split
        super().__init__(
            ann_file=LISTS.get(split, ''), data_root=data_root, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Return one entry per picture, labelled by its folder."""
        names = class_folders(self.data_root)
        self._metainfo.setdefault('classes', tuple(names))
        labels = {name: i for i, name in enumerate(names)}
        if self.split == 'all':
            paths = pictures(self.data_root, names)
        elif osp.isfile(self.ann_file):
            paths = Path(self.ann_file).read_text('utf-8').split('\n')[:-1]
        else:
            raise ConfigError(
                f'ImageNetR: {self.ann_file!r} does not exist; '
                '`python tools/prepare_data.py imagenet_r` writes it')
        return [
            dict(img_path=osp.join(self.data_root, path),
                 gt_label=labels[path.split('/')[0]]) for path in paths
        ]


def class_folders(root: str) -> List[str]:
    """Names of the class folders (``n01443537`` ...), sorted."""
    if not osp.isdir(root):
        raise ConfigError(f'ImageNetR: data_root {root!r} does not exist; '
                          'data/README.md says what goes there')
    return sorted(f.name for f in os.scandir(root)
                  if f.is_dir() and f.name.startswith('n'))


def pictures(root: str, names: List[str]) -> List[str]:
    """Paths ``class/picture`` of all pictures, sorted."""
    return [f'{name}/{file}' for name in names
            for file in sorted(os.listdir(osp.join(root, name)))]
