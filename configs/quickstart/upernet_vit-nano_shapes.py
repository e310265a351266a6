# python tools/train.py configs/quickstart/upernet_vit-nano_shapes.py
_base_ = ['./upernet_swin-nano_shapes.py', '../_base_/models/vit-nano.py']
model = dict(
    # Of every block one map, as 3, 5, 7 and 11 of twelve.
    backbone=dict(
        _delete_=True, out_indices=(0, 1, 2, 3), final_norm=False,
        **_base_.vit_nano),
    neck=dict(
        type='mmseg.Feature2Pyramid',
        embed_dim=48,
        norm_cfg=dict(type='BN', requires_grad=True)),
    decode_head=dict(in_channels=[48, 48, 48, 48]),
    auxiliary_head=dict(in_channels=48))
