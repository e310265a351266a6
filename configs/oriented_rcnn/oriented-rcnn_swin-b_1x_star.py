# python tools/train.py configs/oriented_rcnn/oriented-rcnn_swin-b_1x_star.py
_base_ = [
    '../_base_/models/oriented-rcnn_swin-b.py', '../_base_/datasets/star.py',
    '../_base_/schedules/dota_1x.py', '../_base_/default_runtime_rot.py'
]
model = dict(
    type='mona_mm.WindowedFasterRCNN',
    windows=_base_.windows,
    roi_head=dict(bbox_head=dict(num_classes=48)))
