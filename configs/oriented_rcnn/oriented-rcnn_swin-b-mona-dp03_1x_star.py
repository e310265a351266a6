# python tools/train.py \
#     configs/oriented_rcnn/oriented-rcnn_swin-b-mona-dp03_1x_star.py
_base_ = ['./oriented-rcnn_swin-b-full-dp03_1x_star.py',
          '../_base_/tuners/mona.py']
# Linear layers start at trunc_normal(0.02), unlike the first recipe's.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
