# python tools/train.py configs/kld/kld-retinanet_swin-b-partial_1x_star.py
_base_ = ['./kld-retinanet_swin-b_1x_star.py', '../_base_/tuners/partial.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
