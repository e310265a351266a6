# python tools/train.py configs/retinanet/retinanet_swin-l-normtuning_1x_voc.py
_base_ = ['./retinanet_swin-l_1x_voc.py', '../_base_/tuners/normtuning.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
