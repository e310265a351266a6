# python tools/train.py configs/quickstart/retinanet_swin-nano-lorand_shapes.py
_base_ = ['./retinanet_swin-nano_shapes.py', '../_base_/tuners/lorand.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
