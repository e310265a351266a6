"""Predictions and ground truth, drawn by the libraries' visualizers."""
from colorsys import hsv_to_rgb
from typing import Any, List, Tuple

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from mmengine.structures import PixelData
from torch import Tensor

from mona_mm.config import class_of, datasets
from mona_mm.data.labels.names import as_names
from mona_mm.engine.predict import Predictor
from mona_mm.engine.quiet import quiet
from mona_mm.errors import ConfigError

#: Labels of pixels that count for nothing.
_IGNORED = 255


class Drawing:
    """Draws the samples of all checkpoints with the same names and colours.

    The names are the checkpoints', else the config's; the inferencers would
    take COCO's or Cityscapes' where a checkpoint has none.

    Args:
        cfg (Config): Of the predictor.
        predictor (Predictor): Whose library draws.
        score_thr (float): Lowest score of a box that is drawn.

    Raises:
        ConfigError: If a segmentor's classes have no names.
    """

    def __init__(self, cfg: Config, predictor: Predictor,
                 score_thr: float = 0.3) -> None:
        self.library, self.score_thr = predictor.library, score_thr
        found = {}
        for _, described in datasets(cfg.get('test_dataloader')):
            cls = class_of(described.get('type'), DATASETS, self.library)
            found = {**(getattr(cls, 'METAINFO', None) or {}),
                     **(described.get('metainfo') or {})}
            break
        self.classes = predictor.classes or as_names(found.get('classes'))
        if self.library == 'mmpretrain':
            from mmpretrain.visualization import UniversalVisualizer
            self._visualizer = UniversalVisualizer()
            return
        self._visualizer = predictor.first.visualizer
        palette = found.get('palette') or predictor.first.model.dataset_meta[
            'palette']
        if self.library != 'mmseg':
            if not palette or palette == 'random':
                palette = distinct(len(self.classes or range(80)))
            self._visualizer.dataset_meta = dict(
                classes=self.classes, palette=palette)
            _keep_in_frame(self._visualizer)
            return
        if not self.classes:
            raise ConfigError(
                'neither the checkpoint nor the dataset of the config names '
                'the classes: put metainfo=dict(classes=..., palette=...) '
                'into test_dataloader.dataset')
        self._visualizer.set_dataset_meta(self.classes, palette)
        self._visualizer.alpha = 0.6

    def draw(self, pixels: np.ndarray, sample: Any, truth: bool,
             side: int) -> np.ndarray:
        """Draw a prediction, or a ground truth.

        Args:
            pixels (np.ndarray): (H, W, 3), BGR.
            sample (BaseDataElement): In the picture's coordinates.
            truth (bool): Which of the two is drawn.
            side (int): Longer side of the drawing. Small pictures grow, so
                that what is written on them can be read.

        Returns:
            np.ndarray: (h, w, 3), RGB.
        """
        size = fitted(pixels, side)
        image = plain(pixels, side)
        what = dict(draw_gt=truth, draw_pred=not truth)
        with quiet():
            if self.library == 'mmpretrain':
                self._visualizer.visualize_cls(
                    image, sample, self.classes, **what)
                return self._visualizer.get_image()
            if self.library != 'mmseg':
                what['pred_score_thr'] = self.score_thr
            sample = self._scaled(sample, pixels.shape[1::-1], size)
            self._visualizer.add_datasample('demo', image, sample, **what)
            return self._visualizer.get_image()

    def summary(self, sample: Any, truth: bool) -> List[Tuple[str, str]]:
        """What is in a sample, most first: (class, how many, or how much)."""
        if self.library == 'mmpretrain':
            if truth:
                return [(self._name(i), '') for i in sample.gt_label.tolist()]
            best = sample.pred_score.topk(min(3, len(sample.pred_score)))
            return [(self._name(i), f'{score:.2f}')
                    for score, i in zip(*map(Tensor.tolist, best))]
        if self.library == 'mmseg':
            maps = sample.gt_sem_seg if truth else sample.pred_sem_seg
            labels = maps.data[maps.data != _IGNORED].long()
            shares = torch.bincount(labels) * 100 / max(1, len(labels))
            return [(self._name(i), f'{shares[i]:.1f} %')
                    for i in shares.argsort(descending=True).tolist()
                    if shares[i]]
        found = sample.gt_instances if truth else sample.pred_instances
        labels = found.labels if truth else found.labels[
            found.scores > self.score_thr]
        counts = torch.bincount(labels.long())
        return [(self._name(i), str(int(counts[i])))
                for i in counts.argsort(descending=True, stable=True).tolist()
                if counts[i]]

    def _name(self, label: int) -> str:
        known = self.classes and label < len(self.classes)
        return self.classes[label] if known else f'class {label}'

    def _scaled(self, sample: Any, before: Tuple[int, int],
                after: Tuple[int, int]) -> Any:
        """A sample for a picture of another size (width, height)."""
        sample = sample.clone()
        factor = torch.tensor([a / b for a, b in zip(after, before)])
        for name in {'gt_instances', 'pred_instances'} & set(sample.keys()):
            found = sample.get(name)
            if 'scores' in found:
                found = found[found.scores > self.score_thr]
            boxes = getattr(found.bboxes, 'tensor', found.bboxes).float()
            count = boxes.shape[-1] // 2 * 2  # an angle stays
            boxes = torch.cat([boxes[:, :count] * factor.repeat(count // 2),
                               boxes[:, count:]], -1)
            masks = found.pop('masks', None)
            found.bboxes = boxes
            if masks is not None:
                found.masks = _resized(masks, after)
            sample.set_data({name: found})
        for name in {'gt_sem_seg', 'pred_sem_seg'} & set(sample.keys()):
            labels = cv2.resize(
                sample.get(name).data[0].numpy().astype(np.int32), after,
                interpolation=cv2.INTER_NEAREST)
            sample.set_data({name: PixelData(
                data=torch.from_numpy(labels).long()[None])})
        return sample


def distinct(count: int) -> List[Tuple[int, int, int]]:
    """Colours, RGB, of which neighbours are far apart.

    The hues go round by the golden ratio, so that any first few are spread.
    """
    return [tuple(round(255 * c) for c in hsv_to_rgb(
        i * 0.618034 % 1, (0.95, 0.65)[i // 8 % 2], (1.0, 0.8)[i // 4 % 2]))
        for i in range(count)]


def _keep_in_frame(visualizer: Any) -> None:
    """Let what reaches beyond the picture not move the picture.

    mmengine draws on axes that grow with what is drawn: a rotated box across
    the border would shrink the picture, and all else with it.
    """
    before = visualizer.set_image

    def set_image(image: np.ndarray) -> None:
        before(image)
        visualizer.ax_save.autoscale(False)

    visualizer.set_image = set_image


def fitted(pixels: np.ndarray, side: int) -> Tuple[int, int]:
    """Width and height of a picture with a given longer side."""
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    return max(1, round(width * factor)), max(1, round(height * factor))


def plain(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture (H, W, 3), BGR, at a given longer side: (h, w, 3), RGB."""
    how = cv2.INTER_AREA if side < max(pixels.shape) else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(
        pixels, fitted(pixels, side), interpolation=how)[..., ::-1])


def _resized(masks: Any, size: Tuple[int, int]) -> Tensor:
    """Masks (N, H, W), of any kind, as bool (N, h, w)."""
    if hasattr(masks, 'to_ndarray'):
        masks = masks.to_ndarray()
    found = [cv2.resize(np.asarray(m, np.uint8), size,
                        interpolation=cv2.INTER_NEAREST) for m in masks]
    return torch.from_numpy(np.array(found, bool).reshape(
        len(found), *size[::-1]))
