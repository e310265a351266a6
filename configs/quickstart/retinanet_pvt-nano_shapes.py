# python tools/train.py configs/quickstart/retinanet_pvt-nano_shapes.py
_base_ = [
    './retinanet_swin-nano_shapes.py', '../_base_/models/pvt-nano.py'
]
model = dict(backbone=dict(**_base_.pvt_nano, out_indices=(1, 2, 3)))
