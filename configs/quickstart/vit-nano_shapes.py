# python tools/train.py configs/quickstart/vit-nano_shapes.py
_base_ = ['./swin-nano_shapes.py', '../_base_/models/vit-nano.py']
model = dict(
    backbone=dict(
        _delete_=True, out_type='avg_featmap', final_norm=False,
        **_base_.vit_nano),
    neck=None,
    head=dict(in_channels=48))
