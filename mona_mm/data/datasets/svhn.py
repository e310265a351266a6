"""SVHN: house numbers, one digit per picture."""
import os.path as osp
from typing import List

import numpy as np
from mmpretrain.datasets import BaseDataset

from mona_mm.errors import ConfigError
from mona_mm.registry import DATASETS

#: The archives hold these, and nothing has to be unpacked.
FILES = {s: f'{s}_32x32.mat' for s in ('train', 'test', 'extra')}


@DATASETS.register_module()
class SVHN(BaseDataset):
    """Street View House Numbers, cropped digits of 32 x 32.

    Class 0 is the digit 0, which the files call 10. Pictures come in BGR
    order, as if read by OpenCV.

    Args:
        data_root (str): The folder of the ``.mat`` files.
        split (str): ``'train'`` (73,257), ``'test'`` (26,032) or
            ``'extra'`` (531,131).
        **kwargs: See mmpretrain's ``BaseDataset``.

    Raises:
        ConfigError: If the split is another one, or its file is missing or
            holds something else.
    """

    METAINFO = dict(classes=tuple('0123456789'))

    def __init__(self, data_root: str, split: str = 'train',
                 **kwargs) -> None:
        if split not in FILES:
            raise ConfigError(
                f'SVHN: split={split!r}; expected one of {sorted(FILES)}')
        super().__init__(
            ann_file=FILES[split], data_root=data_root, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Read every picture (32, 32, 3) of the split into memory."""
        images, labels = read_mat(self.ann_file)
        return [
            dict(img=np.ascontiguousarray(image), gt_label=int(label))
            for image, label in zip(images, labels)
        ]


def read_mat(path: str) -> tuple:
    """Return pictures (N, 32, 32, 3) in BGR, and labels (N, ) of 0 to 9.

    Raises:
        ConfigError: If the file is missing or is not one of SVHN's.
    """
    from scipy.io import loadmat
    if not osp.isfile(path):
        raise ConfigError(f'SVHN: {path!r} does not exist; data/README.md '
                          'says where it comes from')
    try:
        content = loadmat(path)
        images = content['X'].transpose(3, 0, 1, 2)[..., ::-1]
        labels = content['y'].ravel().astype(int) % 10
    except Exception as error:  # a damaged file raises anything
        raise ConfigError(f'SVHN: {path!r} cannot be read ({error}); fetch '
                          'it again') from error
    if images.shape[1:] != (32, 32, 3) or len(images) != len(labels):
        raise ConfigError(
            f'SVHN: {path!r} holds {len(labels)} labels and pictures of '
            f'shape {images.shape}; expected (N, 32, 32, 3)')
    return images, labels
