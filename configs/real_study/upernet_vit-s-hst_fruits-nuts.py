# python tools/train.py configs/real_study/upernet_vit-s-hst_fruits-nuts.py
# HST's side network makes maps of four strides itself.
_base_ = ['./upernet_vit-s_fruits-nuts.py', '../_base_/tuners/hst.py']
model = dict(
    data_preprocessor=dict(
        size_divisor=32, test_cfg=dict(size_divisor=32)),
    backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)),
    neck=None,
    decode_head=dict(in_channels=[64, 128, 256, 384]),
    auxiliary_head=dict(in_channels=256))
