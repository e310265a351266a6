"""Predictions of one or several checkpoints, by the libraries' inferencers."""
import copy
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.registry import init_default_scope

from mona_mm.backbones import tuned_class
from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.record import Record, records
from mona_mm.checkpoint.switch import DeltaSwitch
from mona_mm.config import LIBRARIES, backbone_of, library_of, name_of
from mona_mm.data.labels.names import recorded_classes
from mona_mm.errors import ConfigError
from mona_mm.models import WindowedTest
from mona_mm.models.sliced import predict_sliced

from .device import adapt_to_cpu
from .fit import check_for_test
from .quiet import quiet


class Slices(NamedTuple):
    """How large pictures are cut.

    Attributes:
        size (int): Side of a window in pixels; 0 for none.
        gap (int): How far neighbours overlap.
    """
    size: int = 0
    gap: int = 0


NO_SLICES = Slices()


class Predictor:
    """What several checkpoints of one config say to a picture.

    Deltas of one tuner on one base share a model: the base is read once, and
    :class:`DeltaSwitch` puts one delta after the other in place. A checkpoint
    of another tuner, or one that holds its base itself, gets a model of its
    own; the tuner is the one that it records.

    Args:
        cfg (Config): Of one of the four libraries.
        checkpoints (dict[str, str]): {title: file}.
        device (str, optional): ``'cuda:0'``, ...; the one that is there by
            default.
        slices (Slices): For pictures that are larger. Detectors are run on
            the windows one by one, segmentors slide as mmseg does.
        batch_size (int): Windows that are predicted at once. Defaults to 1.

    Attributes:
        library (str): ``'mmdet'``, ...
        classes (tuple[str, ...] | None): Of the checkpoints, if they say so.
        first (BaseInferencer): That of the first checkpoint.
        windowed (bool): Whether the model cuts pictures itself.

    Raises:
        UserError: If a checkpoint does not fit, or one was trained for other
            classes than the first.
    """

    def __init__(self, cfg: Config, checkpoints: Dict[str, str],
                 device: Optional[str] = None, slices: Slices = NO_SLICES,
                 batch_size: int = 1) -> None:
        self.library = library_of(cfg)
        if self.library not in LIBRARIES:
            raise ConfigError(f'{cfg.filename}: expected a config of '
                              f'{", ".join(LIBRARIES)}, but its default_scope'
                              f' is {cfg.get("default_scope")!r}')
        init_default_scope(self.library)
        self.slices, self.batch_size = slices, batch_size
        self._device = device or get_device()
        cfg = copy.deepcopy(cfg)
        adapt_to_cpu(cfg)
        _set_slices(cfg, self.library, slices)
        self._models: Dict[str, Tuple[Any, Optional[DeltaSwitch]]] = {}
        self.classes = None
        shared: Dict[str, Tuple[Any, DeltaSwitch]] = {}
        for title, path in checkpoints.items():
            content = read_checkpoint(path)
            self._agree_on_classes(content, title, path)
            own, kind = _of_record(cfg, content)
            check_for_test(own, path)
            if kind in shared:
                inferencer, switch = shared[kind]
                switch.load(title, path)
                self._models[title] = inferencer, switch
                continue
            with quiet():
                inferencer = self._inferencer(own, path)
            switch = None
            if kind and len(checkpoints) > 1:
                switch = DeltaSwitch(inferencer.model, off=False)
                switch.load(title, path)
                shared[kind] = inferencer, switch
            self._models[title] = inferencer, switch
        self.first = next(iter(self._models.values()))[0]
        self.windowed = isinstance(self.first.model, WindowedTest)

    def predict(self, title: str, pixels: np.ndarray) -> Any:
        """Predict one picture.

        Args:
            title (str): Of the checkpoint.
            pixels (np.ndarray): (H, W, 3), BGR.

        Returns:
            BaseDataElement: The library's sample, on the CPU.
        """
        inferencer, switch = self._models[title]
        if switch:
            switch.use(title)

        def predict(pictures: List[np.ndarray]) -> List[Any]:
            return [s.cpu() for s in self._call(inferencer, pictures)]

        cuts = self.slices.size and not self.windowed
        if self.library in ('mmdet', 'mmrotate') and cuts:
            return predict_sliced(predict, pixels, *self.slices)
        return predict([pixels])[0]

    def _inferencer(self, cfg: Config, path: str) -> Any:
        if self.library == 'mmseg':
            from mmseg.apis import MMSegInferencer
            return MMSegInferencer(cfg, path, device=self._device,
                                   show_progress=False)
        if self.library == 'mmpretrain':
            from mmpretrain.apis import ImageClassificationInferencer
            return ImageClassificationInferencer(cfg, path, self._device)
        from mmdet.apis import DetInferencer
        return DetInferencer(cfg, path, self._device, self.library,
                             show_progress=False)

    def _call(self, inferencer: Any, pictures: List[np.ndarray]) -> List[Any]:
        if self.library in ('mmdet', 'mmrotate'):
            return inferencer(pictures, batch_size=self.batch_size,
                              return_datasamples=True)['predictions']
        if self.library == 'mmseg':
            found = inferencer(pictures, return_datasamples=True)
            return found if isinstance(found, list) else [found]
        from mmpretrain.utils import progress
        before, progress.disable_progress_bar = (
            progress.disable_progress_bar, True)
        try:
            return inferencer(pictures, return_datasamples=True)
        finally:
            progress.disable_progress_bar = before

    def _agree_on_classes(self, content: dict, title: str,
                          path: str) -> None:
        """Take the classes of the first checkpoint that names them."""
        classes = recorded_classes(content)
        if None not in (classes, self.classes) and classes != self.classes:
            raise ConfigError(
                f'{path} ({title}) was trained for other classes than those '
                f'before it: {", ".join(classes):.100}; expected '
                f'{", ".join(self.classes):.100}')
        self.classes = self.classes or classes


def _of_record(cfg: Config, content: dict) -> Tuple[Config, str]:
    """The config for a checkpoint, and what deltas that share a model have.

    Returns:
        tuple[Config, str]: With the tuner that the checkpoint records, if it
        is another than the config's; and a name for the tuner, empty if the
        checkpoint is no delta.
    """
    found: List[Record] = list(records(
        content.get('state_dict', content)).values())
    if len(found) != 1:
        return cfg, ''
    record, = found
    backbone = backbone_of(cfg)
    kind = name_of(record.tuner.get('type'))
    if kind != name_of((backbone.get('tuner') or {}).get('type')):
        cfg = copy.deepcopy(cfg)
        backbone = backbone_of(cfg)
        cls = tuned_class(backbone, cfg.get('default_scope'))
        if cls is not None:
            backbone.type = cls.general or backbone.type
            backbone.tuner = ConfigDict(copy.deepcopy(record.tuner))
    return cfg, kind if record.base else ''


def _set_slices(cfg: Config, library: str, slices: Slices) -> None:
    """Tell the models that cut pictures themselves how to.

    Raises:
        ConfigError: If a classifier should, or a window is not larger than
            its overlap.
    """
    size, gap = slices
    if not size:
        return
    if not 0 <= gap < size:
        raise ConfigError(f'windows of {size} pixels that overlap by {gap}: '
                          'expected 0 <= overlap < size')
    if library == 'mmpretrain':
        raise ConfigError('--slice is for detectors and segmentors: a '
                          'classifier has one answer for a picture')
    if library == 'mmseg':
        cfg.model.test_cfg = dict(mode='slide', crop_size=(size, size),
                                  stride=(size - gap, size - gap))
    elif 'windows' in cfg.model:
        cfg.model.windows.update(size=size, gap=gap)
