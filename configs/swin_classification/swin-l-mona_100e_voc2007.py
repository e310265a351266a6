# python tools/train.py configs/swin_classification/swin-l-mona_100e_voc2007.py
_base_ = ['./swin-l_100e_voc2007.py', '../_base_/tuners/mona.py']
# As released: the baselines' learning rate; the paper's table names twice it
# (swin-l-mona-paper_100e_voc2007.py).
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
