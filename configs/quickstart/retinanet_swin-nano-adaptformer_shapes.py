# python tools/train.py \
#     configs/quickstart/retinanet_swin-nano-adaptformer_shapes.py
_base_ = ['./retinanet_swin-nano_shapes.py', '../_base_/tuners/adaptformer.py']
# 16: at 64 the insertions would outweigh the narrow first stages.
model = dict(
    backbone=dict(tuner=dict(_base_.tuner, _delete_=True, bottleneck_dims=16)))
