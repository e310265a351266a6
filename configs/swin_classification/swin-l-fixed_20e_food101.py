# python tools/train.py configs/swin_classification/swin-l-fixed_20e_food101.py
_base_ = ['./swin-l_20e_food101.py', '../_base_/tuners/fixed.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
