# python tools/train.py configs/quickstart/oriented-rcnn_swin-nano_shapes.py
_base_ = [
    '../_base_/models/oriented-rcnn_swin-b.py',
    '../_base_/models/swin-nano.py', '../_base_/datasets/shapes_dota.py',
    '../_base_/schedules/quickstart.py', '../_base_/default_runtime_rot.py'
]
model = dict(
    backbone=_base_.nano,
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        # The shapes are 18 to 56 pixels wide.
        anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=dict(in_channels=64, fc_out_channels=128, num_classes=6)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(nms_pre=200, max_per_img=20)))
# mmrotate's evaluation starts processes of its own: once is enough.
train_cfg = dict(val_interval=6)
default_hooks = dict(logger=dict(interval=10))
randomness = dict(seed=0)
