# python tools/train.py configs/vit/cascade-mask-rcnn_vit-b_dinov2-3x_coco.py
# Ours: Swin's recipe, which is ViT-Adapter's too (AdamW 1e-4, weight decay
# 0.05, 3x, multi-scale), with ViTDet's pyramid. Blocks attend globally, as
# DINOv2 was trained; in large pictures windows save time and memory:
# --cfg-options model.backbone.window_size=14
_base_ = [
    '../cascade_mask_rcnn/cascade-mask-rcnn_swin-b_3x_coco.py',
    '../_base_/models/vit-b.py'
]
model = dict(
    backbone=dict(_delete_=True, **_base_.dinov2),
    neck=dict(
        _delete_=True, type='mona_mm.SimpleFeaturePyramid', in_channels=768))
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, delta_lr_mult=1.0, **_base_.no_decay))
