# python tools/train.py \
#     configs/quickstart/oriented-rcnn_vit-nano_shapes.py
_base_ = [
    './oriented-rcnn_swin-nano_shapes.py', '../_base_/models/vit-nano.py'
]
model = dict(
    backbone=dict(_delete_=True, **_base_.vit_nano),
    neck=dict(_delete_=True, **_base_.vit_pyramid))
