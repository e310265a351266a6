# python tools/train.py \
#     configs/vit/vit-b-fixed_dinov2-100e_flowers102.py
_base_ = ['./vit-b_dinov2-100e_flowers102.py', '../_base_/tuners/fixed.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
