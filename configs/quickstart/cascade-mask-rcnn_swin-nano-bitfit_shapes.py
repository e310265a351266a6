# python tools/train.py \
#     configs/quickstart/cascade-mask-rcnn_swin-nano-bitfit_shapes.py
_base_ = [
    './cascade-mask-rcnn_swin-nano_shapes.py', '../_base_/tuners/bitfit.py'
]
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
