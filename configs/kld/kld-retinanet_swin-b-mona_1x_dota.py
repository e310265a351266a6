# python tools/train.py configs/kld/kld-retinanet_swin-b-mona_1x_dota.py
_base_ = ['./kld-retinanet_swin-b_1x_dota.py', '../_base_/tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
