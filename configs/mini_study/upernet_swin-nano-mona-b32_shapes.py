# python tools/train.py configs/mini_study/upernet_swin-nano-mona-b32_shapes.py
_base_ = [
    '../quickstart/upernet_swin-nano_shapes.py',
    '../_base_/tuners/mona.py'
]
# Twice the quickstart's bottleneck of 16.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=32)))
