# python tools/train.py configs/mini_study/swin-nano-mona-noscale_shapes.py
_base_ = ['../quickstart/swin-nano_shapes.py', '../_base_/tuners/mona.py']
# Structure ablation: no scaled layer norm.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(
            _base_.tuner,
            _delete_=True,
            bottleneck_dims=16,
            scaled_norm=False)))
