# python tools/train.py configs/retinanet/retinanet_swin-l-mona-k7_1x_voc.py
_base_ = ['./retinanet_swin-l_1x_voc.py', '../_base_/tuners/mona.py']
# Structure ablation: one 7x7 filter instead of 3x3, 5x5 and 7x7.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_base_.tuner, _delete_=True, kernel_sizes=(7, ))))
