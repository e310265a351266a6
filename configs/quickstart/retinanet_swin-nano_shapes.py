# python tools/train.py configs/quickstart/retinanet_swin-nano_shapes.py
_base_ = [
    '../_base_/models/retinanet_swin-l.py', '../_base_/models/swin-nano.py',
    '../_base_/datasets/shapes_voc.py', '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime_det.py'
]
model = dict(
    backbone=_base_.nano,
    # Small, so that the backbone decides, and learns within minutes.
    neck=dict(in_channels=[64, 128, 256], out_channels=32, num_outs=3),
    bbox_head=dict(
        num_classes=6,
        in_channels=32,
        stacked_convs=1,
        feat_channels=32,
        # The shapes are 18 to 56 pixels wide.
        anchor_generator=dict(octave_base_scale=3, strides=[8, 16, 32])))
default_hooks = dict(logger=dict(interval=10))
train_dataloader = dict(batch_size=4)
train_cfg = dict(max_epochs=4, val_interval=1)
auto_scale_lr = dict(base_batch_size=4)
randomness = dict(seed=0)
