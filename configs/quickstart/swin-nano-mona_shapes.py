# python tools/train.py configs/quickstart/swin-nano-mona_shapes.py
_base_ = ['./swin-nano_shapes.py', './tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
