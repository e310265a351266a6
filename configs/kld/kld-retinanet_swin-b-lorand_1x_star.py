# python tools/train.py configs/kld/kld-retinanet_swin-b-lorand_1x_star.py
_base_ = ['./kld-retinanet_swin-b_1x_star.py', '../_base_/tuners/lorand.py']
# As STAR-MMRotate has it: four branches.
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, branches=4)))
