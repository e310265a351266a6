# python tools/train.py configs/quickstart/swin-nano-normtuning_shapes.py
_base_ = ['./swin-nano_shapes.py', '../_base_/tuners/normtuning.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
