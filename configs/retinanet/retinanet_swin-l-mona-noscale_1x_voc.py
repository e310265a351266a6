# python tools/train.py \
#     configs/retinanet/retinanet_swin-l-mona-noscale_1x_voc.py
_base_ = ['./retinanet_swin-l_1x_voc.py', '../_base_/tuners/mona.py']
# Structure ablation: no scaled layer norm.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_base_.tuner, _delete_=True, scaled_norm=False)))
