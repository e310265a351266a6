# python tools/train.py configs/h2rbox_v2/h2rbox-v2_swin-b-lorand_1x_star.py
_base_ = ['./h2rbox-v2_swin-b_1x_star.py', '../_base_/tuners/lorand.py']
# As STAR-MMRotate has it: four branches.
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, branches=4)))
