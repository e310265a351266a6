# python tools/train.py configs/retinanet/retinanet_pvt-l-lorand_1x_voc.py
_base_ = ['./retinanet_pvt-l_1x_voc.py', '../_base_/tuners/lorand.py']
# As wide as on Swin-L, where that fits the paper's count: assumed here.
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=64)))
