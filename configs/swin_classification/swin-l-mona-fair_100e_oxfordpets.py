# python tools/train.py \
#     configs/swin_classification/swin-l-mona-fair_100e_oxfordpets.py
_base_ = ['./swin-l_100e_oxfordpets.py', '../_base_/tuners/mona.py']
# Mona with the baselines' learning rate; the paper's comparison doubles it.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
