# python tools/train.py configs/h2rbox_v2/h2rbox-v2_swin-b-fixed_1x_dota.py
_base_ = ['./h2rbox-v2_swin-b_1x_dota.py', '../_base_/tuners/fixed.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
