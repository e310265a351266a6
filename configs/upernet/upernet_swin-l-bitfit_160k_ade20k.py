# python tools/train.py configs/upernet/upernet_swin-l-bitfit_160k_ade20k.py
_base_ = ['./upernet_swin-l_160k_ade20k.py', '../_base_/tuners/bitfit.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
