# python tools/train.py configs/retinanet/retinanet_swin-t-mona_1x_voc.py
_base_ = ['./retinanet_swin-t_1x_voc.py', '../_base_/tuners/mona.py']
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
