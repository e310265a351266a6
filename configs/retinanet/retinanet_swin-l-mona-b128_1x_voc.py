# python tools/train.py configs/retinanet/retinanet_swin-l-mona-b128_1x_voc.py
_base_ = ['./retinanet_swin-l_1x_voc.py', '../_base_/tuners/mona.py']
# Table 4: bottleneck 128 instead of 64.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=128)))
