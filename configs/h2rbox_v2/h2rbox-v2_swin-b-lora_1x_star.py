# python tools/train.py configs/h2rbox_v2/h2rbox-v2_swin-b-lora_1x_star.py
_base_ = ['./h2rbox-v2_swin-b_1x_star.py', '../_base_/tuners/lora.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
