# python tools/train.py \
#     configs/oriented_rcnn/oriented-rcnn_swin-b-mona_1x_star.py
_base_ = ['./oriented-rcnn_swin-b_1x_star.py', '../_base_/tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
