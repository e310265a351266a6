# python tools/train.py configs/quickstart/upernet_swin-nano_shapes.py
_base_ = [
    '../_base_/models/upernet_swin-l.py', '../_base_/models/swin-nano.py',
    '../_base_/datasets/shapes_ade.py', '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime_seg.py'
]
norm_cfg = dict(type='BN', requires_grad=True)
# Background, 84 % of all pixels, would be all that so short a training finds.
class_weight = [0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=_base_.nano,
    decode_head=dict(
        in_channels=[32, 64, 128, 256],
        channels=64,
        num_classes=7,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=class_weight)),
    auxiliary_head=dict(
        in_channels=128,
        channels=32,
        num_classes=7,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=class_weight)))
# Epochs, as the other quickstarts count; ADE20K's runtime counts iterations.
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=True),
    checkpoint=dict(by_epoch=True, interval=1))
log_processor = dict(by_epoch=True)
randomness = dict(seed=0)
