# python tools/train.py \
#     configs/vit/oriented-rcnn_vit-b-mona_dinov2-1x_dota.py
_base_ = ['./oriented-rcnn_vit-b_dinov2-1x_dota.py', '../_base_/tuners/mona.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
