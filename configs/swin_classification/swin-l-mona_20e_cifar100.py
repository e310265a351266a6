# python tools/train.py configs/swin_classification/swin-l-mona_20e_cifar100.py
_base_ = ['./swin-l_20e_cifar100.py', '../_base_/tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
