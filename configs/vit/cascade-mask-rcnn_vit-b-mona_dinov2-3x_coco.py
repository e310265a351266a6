# python tools/train.py \
#     configs/vit/cascade-mask-rcnn_vit-b-mona_dinov2-3x_coco.py
_base_ = ['./cascade-mask-rcnn_vit-b_dinov2-3x_coco.py', '../_base_/tuners/mona.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
