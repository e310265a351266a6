# python tools/train.py configs/upernet/upernet_swin-l-mona_80k_potsdam.py
_base_ = ['./upernet_swin-l_80k_potsdam.py', '../_base_/tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
