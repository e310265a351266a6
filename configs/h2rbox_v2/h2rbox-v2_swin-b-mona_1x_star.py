# python tools/train.py configs/h2rbox_v2/h2rbox-v2_swin-b-mona_1x_star.py
_base_ = ['./h2rbox-v2_swin-b_1x_star.py', '../_base_/tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
