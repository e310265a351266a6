# python tools/train.py configs/upernet/upernet_swin-l-fixed_80k_loveda.py
_base_ = ['./upernet_swin-l_80k_loveda.py', '../_base_/tuners/fixed.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
