# python tools/train.py \
#     configs/vit/upernet_vit-b-mona_dinov2-160k_ade20k.py
_base_ = ['./upernet_vit-b_dinov2-160k_ade20k.py', '../_base_/tuners/mona.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
