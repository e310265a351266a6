"""Pascal VOC 2007 as a classification task with one label per image."""
from collections import Counter
from typing import Callable, Dict, List, NamedTuple, Sequence
from xml.etree import ElementTree

from mmengine import list_from_file
from mmpretrain.datasets import VOC

from mona_mm.errors import ConfigError
from mona_mm.registry import DATASETS


class Labelled(NamedTuple):
    """An object of an image: its class, the area of its box."""

    name: str
    area: float
    difficult: bool


def _most_objects(objects: Sequence[Labelled]) -> str:
    counts = Counter(o.name for o in objects)
    return max(objects, key=lambda o: (counts[o.name], o.area)).name


def _most_area(objects: Sequence[Labelled]) -> str:
    areas = Counter()
    for item in objects:
        areas[item.name] += item.area
    return max(objects, key=lambda o: areas[o.name]).name


#: Rules that pick the label of an image from its objects.
RULES: Dict[str, Callable[[Sequence[Labelled]], str]] = dict(
    largest_box=lambda objects: max(objects, key=lambda o: o.area).name,
    first=lambda objects: objects[0].name,
    most_objects=_most_objects,
    most_area=_most_area)


@DATASETS.register_module()
class VOC2007SingleLabel(VOC):
    """VOC 2007 with one label per image, as in the paper's table 3.

    Which rule the paper used is not published; the published accuracies
    imply one label for each of the 4,952 test images. Objects marked
    difficult count only in images that have no others.

    Args:
        data_root (str): The folder ``VOC2007``.
        split (str): ``'train'``, ``'val'``, ``'trainval'`` or ``'test'``.
        rule (str): A key of :data:`RULES`: the class of the largest box, of
            the first object in the annotation, of most objects, or of the
            largest area in sum.
        **kwargs: See mmpretrain's ``VOC``.

    Raises:
        ConfigError: If the rule is unknown, or an image has no object.
    """

    def __init__(self, data_root: str, split: str = 'trainval',
                 rule: str = 'largest_box', **kwargs) -> None:
        if rule not in RULES:
            raise ConfigError(f'VOC2007SingleLabel: rule={rule!r}; expected '
                              f'one of {sorted(RULES)}')
        self.rule = rule
        kwargs.setdefault('test_mode', split == 'test')
        super().__init__(data_root=data_root, split=split, **kwargs)

    def load_data_list(self) -> List[dict]:
        """Return one entry per image of the split."""
        return [
            dict(img_path=self.backend.join_path(self.img_prefix,
                                                 f'{name}.jpg'),
                 gt_label=self._label(name))
            for name in list_from_file(self.image_set_path)
        ]

    def get_cat_ids(self, idx: int) -> List[int]:
        """Return the label of an image, as samplers ask for it."""
        return [int(self.get_data_info(idx)['gt_label'])]

    def _label(self, name: str) -> int:
        path = self.backend.join_path(self.ann_prefix, f'{name}.xml')
        objects = [o for o in read_objects(self.backend.get(path))
                   if o.name in self.class_to_idx]
        if not objects:
            raise ConfigError(f'{path} names no object of a VOC class')
        plain = [o for o in objects if not o.difficult]
        return self.class_to_idx[RULES[self.rule](plain or objects)]


def read_objects(xml: bytes) -> List[Labelled]:
    """Read the objects of an annotation file, in its order."""
    found = []
    for node in ElementTree.fromstring(xml).iterfind('object'):
        x1, y1, x2, y2 = (float(node.findtext(f'bndbox/{key}'))
                          for key in ('xmin', 'ymin', 'xmax', 'ymax'))
        found.append(Labelled(
            node.findtext('name'), (x2 - x1 + 1) * (y2 - y1 + 1),
            node.findtext('difficult', '0') == '1'))
    return found
