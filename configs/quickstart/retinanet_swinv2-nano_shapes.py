# python tools/train.py configs/quickstart/retinanet_swinv2-nano_shapes.py
_base_ = [
    './retinanet_swin-nano_shapes.py', '../_base_/models/swinv2-nano.py'
]
model = dict(backbone=dict(**_base_.swinv2_nano, out_indices=(1, 2, 3)))
