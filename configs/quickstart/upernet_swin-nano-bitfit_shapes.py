# python tools/train.py configs/quickstart/upernet_swin-nano-bitfit_shapes.py
_base_ = ['./upernet_swin-nano_shapes.py', '../_base_/tuners/bitfit.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
