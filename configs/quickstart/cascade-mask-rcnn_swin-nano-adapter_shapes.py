# python tools/train.py \
#     configs/quickstart/cascade-mask-rcnn_swin-nano-adapter_shapes.py
_base_ = [
    './cascade-mask-rcnn_swin-nano_shapes.py', '../_base_/tuners/adapter.py'
]
# 16: at 64 the insertions would outweigh the narrow first stages.
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=16)))
