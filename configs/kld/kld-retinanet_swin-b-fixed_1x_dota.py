# python tools/train.py configs/kld/kld-retinanet_swin-b-fixed_1x_dota.py
_base_ = ['./kld-retinanet_swin-b_1x_dota.py', '../_base_/tuners/fixed.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
