# python tools/train.py configs/vit/oriented-rcnn_vit-b_dinov2-1x_dota.py
# Ours: the recipe that Swin has there, with ViTDet's pyramid.
_base_ = [
    '../oriented_rcnn/oriented-rcnn_swin-b_1x_dota.py',
    '../_base_/models/vit-b.py'
]
model = dict(
    backbone=dict(_delete_=True, **_base_.dinov2),
    neck=dict(
        _delete_=True, type='mona_mm.SimpleFeaturePyramid', in_channels=768))
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, delta_lr_mult=1.0, **_base_.no_decay))
