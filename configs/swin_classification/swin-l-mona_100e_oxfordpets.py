# python tools/train.py \
#     configs/swin_classification/swin-l-mona_100e_oxfordpets.py
_base_ = ['./swin-l_100e_oxfordpets.py', '../_base_/tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
# As released, for Mona only: twice the baselines' learning rate.
optim_wrapper = dict(optimizer=dict(lr=2 * 5e-4 * (4 * 4) / 512))
