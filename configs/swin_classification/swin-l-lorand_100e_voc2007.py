# python tools/train.py \
#     configs/swin_classification/swin-l-lorand_100e_voc2007.py
_base_ = ['./swin-l_100e_voc2007.py', '../_base_/tuners/lorand.py']
# 64 wide fits the count that the paper prints for Swin-L (0.66 %).
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=64)))
