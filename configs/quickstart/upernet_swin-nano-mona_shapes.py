# python tools/train.py configs/quickstart/upernet_swin-nano-mona_shapes.py
_base_ = ['./upernet_swin-nano_shapes.py', '../_base_/tuners/mona.py']
# 16 wide: at 64 the adapters would outweigh the narrow first stages.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=16)))
