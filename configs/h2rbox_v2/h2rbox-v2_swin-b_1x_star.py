# python tools/train.py configs/h2rbox_v2/h2rbox-v2_swin-b_1x_star.py
_base_ = [
    '../_base_/models/h2rbox-v2_swin-b.py', '../_base_/datasets/star.py',
    '../_base_/schedules/h2rbox_1x.py', '../_base_/default_runtime_rot.py'
]
# Tank and roundabout have no direction; nothing is shrunk.
model = dict(
    type='mona_mm.WindowedH2RBoxV2',
    windows=dict(_base_.windows, pad_divisor=64),
    bbox_head=dict(
        num_classes=48,
        rotation_agnostic_classes=[4, 44],
        agnostic_resize_classes=None))
train_dataloader = dict(dataset=dict(pipeline=_base_.hbox_pipeline))
