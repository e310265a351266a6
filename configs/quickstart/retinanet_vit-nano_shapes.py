# python tools/train.py configs/quickstart/retinanet_vit-nano_shapes.py
_base_ = ['./retinanet_swin-nano_shapes.py', '../_base_/models/vit-nano.py']
model = dict(
    backbone=dict(_delete_=True, **_base_.vit_nano),
    # RetinaNet starts at stride 8.
    neck=dict(
        _base_.vit_pyramid,
        _delete_=True,
        out_channels=32,
        scales=(2, 1, 0.5),
        num_outs=3))
