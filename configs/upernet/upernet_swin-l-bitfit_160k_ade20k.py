# python tools/train.py configs/upernet/upernet_swin-l-bitfit_160k_ade20k.py
_base_ = ['./upernet_swin-l_160k_ade20k.py', '../_base_/tuners/bitfit.py']
# Plain BN, as the release has it for all but full, fixed and Mona.
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True)),
    decode_head=dict(norm_cfg=norm_cfg),
    auxiliary_head=dict(norm_cfg=norm_cfg))
