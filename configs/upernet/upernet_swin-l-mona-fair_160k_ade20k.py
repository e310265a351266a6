# python tools/train.py configs/upernet/upernet_swin-l-mona-fair_160k_ade20k.py
_base_ = ['./upernet_swin-l_160k_ade20k.py', '../_base_/tuners/mona.py']
# Mona with the baselines' learning rate, drop-path and decay rules; the
# paper's comparison gives Mona others.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
