# python tools/train.py configs/retinanet/retinanet_pvt-l-adaptformer_1x_voc.py
_base_ = ['./retinanet_pvt-l_1x_voc.py', '../_base_/tuners/adaptformer.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
