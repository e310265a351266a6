# python tools/train.py configs/oriented_rcnn/oriented-rcnn_swin-b_1x_dota.py
_base_ = [
    '../_base_/models/oriented-rcnn_swin-b.py', '../_base_/datasets/dota.py',
    '../_base_/schedules/dota_1x.py', '../_base_/default_runtime_rot.py'
]
# Recipe ours, after STAR's: with Oriented R-CNN the release has ResNet-50 (SGD)
# and Swin-T on DOTA, and Swin-B on STAR alone.
