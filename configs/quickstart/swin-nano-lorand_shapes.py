# python tools/train.py configs/quickstart/swin-nano-lorand_shapes.py
_base_ = ['./swin-nano_shapes.py', '../_base_/tuners/lorand.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
