# python tools/train.py \
#     configs/oriented_rcnn/oriented-rcnn_swin-b-lorand_1x_dota.py
_base_ = ['./oriented-rcnn_swin-b_1x_dota.py', '../_base_/tuners/lorand.py']
# As STAR-MMRotate has it: four branches.
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, branches=4)))
