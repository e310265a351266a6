"""Testing on whole images by windows, as STAR's benchmark does."""
from typing import List, Sequence, Union

import torch
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from mona_mm.compat import swaps_channels
from mona_mm.data.tiling import Window, windows
from mona_mm.errors import ConfigError


class WindowedTest:
    """Mixin of a rotated detector: test a large image window by window.

    Windows are cut from the raw image before it is normalised, so that only
    a few of them are on the accelerator at a time. What they find is moved to
    where the window lies and merged per class with rotated NMS. Training is
    the detector's own.

    Args:
        windows (dict): ``size`` and ``gap`` (overlap) in pixels,
            ``iou_threshold`` of the merge, ``batch_size`` (default 1),
            windows per forward pass, and ``pad_divisor`` (default 0). If
            that is not 0, windows are those of an image padded to a
            multiple of it, and all are ``size`` wide and high, as in
            STAR-MMRotate; padding is the mean that the data preprocessor
            subtracts.
        **kwargs: The detector's.

    Raises:
        ConfigError: If ``windows`` has other keys, or the image was resized
            by the test pipeline.
    """

    def __init__(self, windows: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        self.windows = dict(dict(batch_size=1, pad_divisor=0), **windows)
        needed = {'size', 'gap', 'iou_threshold', 'batch_size', 'pad_divisor'}
        if set(self.windows) != needed:
            raise ConfigError(f'windows has the keys {sorted(windows)}; '
                              f'expected {sorted(needed)}')

    def test_step(self, data: Union[dict, Sequence]) -> List[BaseDataElement]:
        """Predict whole images.

        Args:
            data (dict): ``inputs``, images of shape (C, H, W), and their
                ``data_samples``.

        Returns:
            list: The samples with ``pred_instances`` in image coordinates.
        """
        if not isinstance(data, dict):
            data = dict(inputs=data[0], data_samples=data[1])
        return [
            self._predict_whole(image, sample)
            for image, sample in zip(data['inputs'], data['data_samples'])
        ]

    val_step = test_step

    def _predict_whole(self, image: Tensor,
                       sample: BaseDataElement) -> BaseDataElement:
        _check_scale(sample)
        height, width = image.shape[-2:]
        size, gap = self.windows['size'], self.windows['gap']
        if divisor := self.windows['pad_divisor']:
            # At least one window: a smaller image is padded up to it.
            height, width = (max(size, -(-n // divisor) * divisor)
                             for n in (height, width))
        places = windows(width, height, size, gap)
        found, step = [], self.windows['batch_size']
        for i in range(0, len(places), step):
            found += self._predict_windows(image, sample, places[i:i + step])
        whole = sample.new()
        whole.pred_instances = _merge(found, self.windows['iou_threshold'])
        return whole

    def _predict_windows(self, image: Tensor, sample: BaseDataElement,
                         places: Sequence[Window]) -> List[InstanceData]:
        crops, samples = [], []
        for x1, y1, x2, y2 in places:
            shape = y2 - y1, x2 - x1
            crops.append(self._filled(image[:, y1:y2, x1:x2], *shape))
            # A sample of the same kind, without labels.
            samples.append(type(sample)(metainfo=dict(
                sample.metainfo, img_shape=shape, ori_shape=shape,
                scale_factor=(1.0, 1.0))))
        results = super().test_step(
            dict(inputs=crops, data_samples=samples))
        found = [result.pred_instances for result in results]
        return [
            InstanceData(bboxes=shifted(f.bboxes, place), scores=f.scores,
                         labels=f.labels) for f, place in zip(found, places)]

    def _filled(self, crop: Tensor, height: int, width: int) -> Tensor:
        """Pad a crop (C, h, w) of an image to (C, height, width)."""
        if crop.shape[-2:] == (height, width):
            return crop
        mean = self.data_preprocessor.mean  # (C, 1, 1)
        if swaps_channels(self.data_preprocessor):
            mean = mean.flip(0)  # it is subtracted after the conversion
        filled = mean.to(crop.device).repeat(1, height, width)
        filled[:, :crop.shape[1], :crop.shape[2]] = crop
        return filled


def _check_scale(sample: BaseDataElement) -> None:
    shape, original = sample.get('img_shape'), sample.get('ori_shape')
    if original is not None and tuple(shape[:2]) != tuple(original[:2]):
        raise ConfigError(
            f'the test pipeline resizes images ({original[:2]} to '
            f'{shape[:2]}); windows are cut from images as they are: leave '
            'Resize out of it')


def shifted(boxes: Tensor, place: Window) -> Tensor:
    """Boxes of a window, (N, 4) or (N, 5), in the picture."""
    boxes = getattr(boxes, 'tensor', boxes)
    shift = boxes.new_zeros(boxes.shape[-1])
    shift[:2] = shift.new_tensor(place[:2])
    if boxes.shape[-1] == 4:
        shift[2:] = shift[:2]
    return boxes + shift


def _merge(found: Sequence[InstanceData], threshold: float) -> InstanceData:
    """Join windows and suppress doubles, class by class.

    One pass over all classes with shifted boxes, the usual short cut, would
    lose a tenth of a pixel on images of this size.
    """
    from mmcv.ops import nms_rotated
    joined = InstanceData.cat(list(found))
    kept = []
    for label in joined.labels.unique():
        index = (joined.labels == label).nonzero().flatten()
        _, keep = nms_rotated(joined.bboxes[index].float(),
                              joined.scores[index].float(), threshold)
        kept.append(index[keep])
    if not kept:
        return joined
    index = torch.cat(kept)
    return joined[index[joined.scores[index].argsort(descending=True)]]
