# python tools/train.py configs/quickstart/retinanet_convnext-nano_shapes.py
_base_ = [
    './retinanet_swin-nano_shapes.py', '../_base_/models/convnext-nano.py'
]
model = dict(backbone=dict(**_base_.convnext_nano, out_indices=(1, 2, 3)))
