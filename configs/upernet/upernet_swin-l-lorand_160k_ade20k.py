# python tools/train.py configs/upernet/upernet_swin-l-lorand_160k_ade20k.py
_base_ = ['./upernet_swin-l_160k_ade20k.py', '../_base_/tuners/lorand.py']
# 64 wide fits the count that the paper prints for Swin-L (0.66 %).
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=64)))
