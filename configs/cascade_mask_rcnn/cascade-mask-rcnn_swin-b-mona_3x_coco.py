# python tools/train.py \
#     configs/cascade_mask_rcnn/cascade-mask-rcnn_swin-b-mona_3x_coco.py
_base_ = ['./cascade-mask-rcnn_swin-b_3x_coco.py', '../_base_/tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
