"""Ground truth of pictures, as the dataset of a config has it."""
import copy
import os.path as osp
from typing import Any, Dict, List, Optional, Sequence

from mmengine.config import Config
from mmengine.registry import DATASETS

from mona_mm.config import datasets, name_of
from mona_mm.errors import ConfigError

from .inputs import Picture
from .labels.names import as_names, difference

#: Steps of a pipeline that load, and leave everything where it is.
_LOADS = ('LoadImageFromFile', 'LoadAnnotations', 'ConvertBoxType')


class Truths:
    """The annotations of a config's test data, in a picture's coordinates.

    Args:
        cfg (Config): Of any of the four libraries. Its default scope must be
            in place.
        classes (Sequence[str], optional): Those of the checkpoints.

    Raises:
        ConfigError: If the dataset cannot be read, or has other classes.
    """

    def __init__(self, cfg: Config,
                 classes: Optional[Sequence[str]] = None) -> None:
        self._sets: List[Any] = []
        self._paths: Dict[str, tuple] = {}
        self._names: Dict[str, set] = {}
        steps = _steps(cfg)
        for where, described in datasets(cfg.get('test_dataloader'),
                                         'test_dataloader'):
            described = dict(copy.deepcopy(described), pipeline=steps)
            try:
                dataset = DATASETS.build(described)
            except (OSError, ValueError, AssertionError) as error:
                raise ConfigError(
                    f'--annotations: {where} of the config cannot be read: '
                    f'{error}; name others with --cfg-options {where}.'
                    'ann_file=... or data_root=...') from error
            own = as_names(dataset.metainfo.get('classes'))
            if own and classes and (told := difference(
                    own, classes, where, 'the checkpoints')):
                raise ConfigError(f'--annotations: {told}')
            for i in range(len(dataset)):
                path = dataset.get_data_info(i)['img_path']
                self._paths[osp.realpath(path)] = len(self._sets), i
                self._names.setdefault(osp.basename(path), set()).add(
                    (len(self._sets), i))
            self._sets.append(dataset)

    def knows(self, path: str) -> bool:
        """Whether the dataset has this file, or one of its name."""
        return (osp.realpath(path) in self._paths
                or osp.basename(path) in self._names)

    def find(self, picture: Picture) -> Optional[Any]:
        """The annotated sample of a picture: the same file, or its name.

        Returns:
            BaseDataElement | None: None if the dataset does not have it.

        Raises:
            ConfigError: If several of the dataset have its name, or its size
                is another.
        """
        if picture.path is None:
            return None
        place = self._paths.get(osp.realpath(picture.path))
        if place is None:
            known = self._names.get(osp.basename(picture.path), ())
            if len(known) > 1:
                raise ConfigError(
                    f'{picture.path}: the annotations know {len(known)} '
                    'pictures of this name; give the one in the dataset\'s '
                    'folder')
            if not known:
                return None
            place, = known
        dataset, index = place
        packed = self._sets[dataset][index]
        sample = packed['data_samples']
        there = tuple(packed['inputs'].shape[-2:])
        if there != picture.pixels.shape[:2]:
            raise ConfigError(
                f'{picture.path} is {picture.pixels.shape[:2]}, but the '
                f'picture of its name in the dataset is {there} (height, '
                'width): its annotations would be out of place')
        return sample


def _steps(cfg: Config) -> List[dict]:
    """What loads a picture and its annotations, and packs them."""
    found: Dict[str, List[dict]] = {}
    for loader in ('test_dataloader', 'train_dataloader'):
        pipelines = [d.get('pipeline') for _, d in datasets(cfg.get(loader))]
        found[loader] = next(filter(None, pipelines), [])
    test = found['test_dataloader']
    # Some test pipelines do not load annotations at all.
    loads = next((p for p in (test, found['train_dataloader']) if any(
        name_of(s.get('type')) == 'LoadAnnotations' for s in p)), test)
    packs = [s for s in test if name_of(s.get('type')).startswith('Pack')]
    return copy.deepcopy(
        [s for s in loads if name_of(s.get('type')) in _LOADS] + packs)
