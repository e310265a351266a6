"""Label pictures: which values they hold, and what becomes of them."""
import os.path as osp
from typing import List, Set

import mmcv
import numpy as np
from mmengine.registry import TRANSFORMS
from PIL import Image

from mona_mm.text import some

from .leaves import Leaf, spread
from .pictures import Picture

#: Label pictures that are looked at; so many more if none has a label.
_MASKS, _MORE = 8, 200


def read_masks(leaf: Leaf) -> List[Picture]:
    """Load a few label pictures as the pipeline will, and judge the values.

    Args:
        leaf (Leaf): Of ``BaseSegDataset``.
    """
    step = leaf.step('LoadAnnotations')
    items = leaf.data.load_data_list()
    if not items:
        leaf.refuse(f'no *{leaf.data.img_suffix} in '
                    f'{leaf.data.data_prefix.get("img_path")}; other pictures '
                    "need img_suffix='...' in the dataset")
        return []
    if step is None or 'seg_map_path' not in items[0]:
        return [Picture(i['img_path']) for i in items[:_MASKS]]
    with TRANSFORMS.switch_scope_and_registry(leaf.scope) as registry:
        load = registry.build(dict(step))
    values: Set[int] = set()  # as in the files
    labels: Set[int] = set()  # as the model sees them
    looked = spread(items, _MASKS)
    for item in looked:
        if not _look(leaf, load, item, values, labels):
            return []
    ignored = leaf.data.ignore_index
    if labels <= {ignored}:
        for item in spread(items, _MORE):
            if not _look(leaf, load, item, values, labels):
                return []
            if labels - {ignored}:
                break
    _judge(leaf, values, labels - {ignored}, ignored)
    return [
        Picture(i['img_path'], _size(i['seg_map_path']), i['seg_map_path'])
        for i in looked
    ]


def _look(leaf: Leaf, load, item: dict, values: Set[int],
          labels: Set[int]) -> bool:
    """Collect the values of one label picture; whether it can be used."""
    path = item['seg_map_path']
    if not osp.isfile(path):
        leaf.refuse(f'the label picture {path} of {item["img_path"]} does '
                    'not exist')
        return False
    raw = mmcv.imread(path, flag='unchanged',
                      backend=getattr(load, 'imdecode_backend', 'pillow'))
    if raw is None or raw.squeeze().ndim != 2:
        shape = 'no picture' if raw is None else f'of shape {raw.shape}'
        leaf.refuse(f'the label picture {path} is {shape}; expected one '
                    'channel, whose values are the labels')
        return False
    found = np.unique(raw)
    values.update(found.tolist())
    if found[-1] > 255:
        leaf.refuse(f'the label picture {path} has the value {found[-1]}; '
                    'labels are read as 8 bits, so that only 0 to 255 count')
        return False
    try:
        seen = load(dict(item, seg_fields=[]))['gt_seg_map']
    except AssertionError as error:  # reduce_zero_label, said twice
        leaf.refuse(str(error))
        return False
    here = set(np.unique(seen).tolist())
    labels |= here
    return _in_range(leaf, path, found, here)


def _in_range(leaf: Leaf, path: str, found: np.ndarray,
              labels: Set[int]) -> bool:
    count = len(leaf.classes or ()) or max(leaf.counts, default=0)
    beyond = sorted(v for v in labels if v >= count
                    and v != leaf.data.ignore_index)
    if not count or not beyond:
        return True
    shift = int(leaf.data.reduce_zero_label)
    leaf.refuse(
        f'the label picture {path} has the value {beyond[0] + shift}, but '
        f'there are {count} classes, whose values are {shift} to '
        f'{count - 1 + shift}'
        f'{" (reduce_zero_label: 0 counts for nothing)" if shift else ""}, '
        f'and {leaf.data.ignore_index} for nothing. Its values: '
        f'{_shown(found.tolist())}')
    return False


def _judge(leaf: Leaf, values: Set[int], labels: Set[int],
           ignored: int) -> None:
    shift = leaf.data.reduce_zero_label
    nothing = f'{"0 and " if shift else ""}{ignored}'
    found = f'the first label pictures hold the values {_shown(values)}'
    if not labels:
        text = (f'{found}, of which {nothing} count for nothing'
                f'{" (reduce_zero_label)" if shift else ""}: no pixel is '
                f'labelled. The first class is written as {int(shift)}, the '
                f'next as {int(shift) + 1} and so on')
        leaf.refuse(text) if leaf.trains else leaf.warn(text)
    elif len(labels) == 1 and ignored in values and len(
            leaf.classes or ()) > 1:
        name = leaf.classes[next(iter(labels))]
        leaf.warn(f'{found}, of which {nothing} counts for nothing: only '
                  f'{name!r} is labelled. If {ignored} is meant as a class, '
                  'write its number instead')


def _size(path: str) -> tuple:
    with Image.open(path) as image:
        return image.size


def _shown(values) -> str:
    return some([str(v) for v in sorted(values)], 12)
