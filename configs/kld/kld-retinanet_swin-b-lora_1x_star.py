# python tools/train.py configs/kld/kld-retinanet_swin-b-lora_1x_star.py
_base_ = ['./kld-retinanet_swin-b_1x_star.py', '../_base_/tuners/lora.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
