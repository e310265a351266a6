# python tools/train.py configs/retinanet/retinanet_swin-l-lorand_1x_voc.py
_base_ = ['./retinanet_swin-l_1x_voc.py', '../_base_/tuners/lorand.py']
# 64 wide fits the count that the paper prints for Swin-L (0.66 %).
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=64)))
