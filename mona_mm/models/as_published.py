"""Parts of mmdet that work as in mmdet 2.11, the paper's version."""
from typing import List, Optional, Sequence

from mmdet.models.dense_heads import RetinaHead as MMDetRetinaHead
from mmdet.models.roi_heads.roi_extractors import (
    SingleRoIExtractor as MMDetSingleRoIExtractor,
)
from mmengine.structures import InstanceData
from torch import Tensor


class RetinaHead(MMDetRetinaHead):
    """mmdet's head; ``nms_pre`` of the test counts anchors.

    mmdet 2.11 keeps, level by level, the ``nms_pre`` anchors with the best
    score of any class, and then the pairs of anchor and class above
    ``score_thr``. mmdet 3.x takes the threshold first and then the
    ``nms_pre`` best pairs. Both find the same unless a level has more than
    ``nms_pre`` pairs above the threshold.

    Args:
        nms_pre_anchors (bool): Work as mmdet 2.11. Defaults to True.
        *args: See mmdet's ``RetinaHead``.
        **kwargs: See mmdet's ``RetinaHead``.
    """

    def __init__(self, *args, nms_pre_anchors: bool = True,
                 **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.nms_pre_anchors = nms_pre_anchors

    def _predict_by_feat_single(
            self, cls_score_list: Sequence[Tensor],
            bbox_pred_list: Sequence[Tensor],
            score_factor_list: Sequence[Optional[Tensor]],
            mlvl_priors: List[Tensor], img_meta: dict, cfg=None,
            **kwargs) -> InstanceData:
        """Decode one image; A anchors per place, K classes, B box values.

        Args:
            cls_score_list: Levels of (A * K, H, W).
            bbox_pred_list: Levels of (A * B, H, W).
            score_factor_list: Levels of None.
            mlvl_priors: Levels of (H * W * A, B).
            img_meta: Of the image.
            cfg: In place of ``test_cfg``.
            **kwargs: See mmdet's ``BaseDenseHead``.
        """
        cfg = (self.test_cfg if cfg is None else cfg).copy()
        count = cfg.get('nms_pre', -1)
        if self.nms_pre_anchors and count > 0:
            levels = [self._best(*level, count) for level in
                      zip(cls_score_list, bbox_pred_list, mlvl_priors)]
            cls_score_list, bbox_pred_list, mlvl_priors = zip(*levels)
            cfg['nms_pre'] = count * self.cls_out_channels  # all that is left
        return super()._predict_by_feat_single(
            cls_score_list, bbox_pred_list, score_factor_list, mlvl_priors,
            img_meta, cfg, **kwargs)

    def _best(self, scores: Tensor, boxes: Tensor, priors, count: int):
        """The best anchors of a level, as a map of count x 1."""
        scores = scores.permute(1, 2, 0).reshape(-1, self.cls_out_channels)
        boxes = boxes.permute(1, 2, 0).reshape(len(scores), -1)
        if len(scores) > count:
            # A sigmoid keeps the order: its logits tell as much.
            known = scores if self.use_sigmoid_cls else (
                scores.softmax(-1)[:, :-1])
            best = known.amax(1).topk(count).indices
            scores, boxes, priors = scores[best], boxes[best], priors[best]
        return scores.T[..., None], boxes.T[..., None], priors


class SingleRoIExtractor(MMDetSingleRoIExtractor):
    """mmdet's extractor; it works in float32 under mixed precision.

    mmdet 3.x casts proposals to the features' type: in float16 coordinates
    from 1024 on are whole pixels, in bfloat16 those from 256 on even ones.

    Args:
        float32 (bool): Work as published. Defaults to True.
        *args: See mmdet's ``SingleRoIExtractor``.
        **kwargs: See mmdet's ``SingleRoIExtractor``.
    """

    def __init__(self, *args, float32: bool = True, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.float32 = float32

    def forward(self, feats: Sequence[Tensor], rois: Tensor,
                roi_scale_factor: Optional[float] = None) -> Tensor:
        """Extract features of N proposals.

        Args:
            feats: Levels of (B, C, H, W).
            rois: (N, 5): image, x1, y1, x2, y2.
            roi_scale_factor: Enlarge proposals by it.

        Returns:
            Tensor: (N, C, output size, output size), of the features' type.
        """
        if not self.float32:
            return super().forward(feats, rois, roi_scale_factor)
        found = super().forward(
            tuple(f.float() for f in feats), rois, roi_scale_factor)
        return found.to(feats[0].dtype)
