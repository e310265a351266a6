# A second step for the base of the quickstarts, not run to its end yet: which
# of 24 shapes, or none, each pixel of varied scenes belongs to, from all
# stages' maps and from the last stage's alone. From random weights no class is
# found within 2000 iterations; this starts from the base as it is.
#   python tools/train.py configs/quickstart/pretrain_swin-nano_source.py
_base_ = [
    '../_base_/models/upernet_swin-l.py', '../_base_/models/swin-nano.py',
    '../_base_/datasets/source_scenes.py', '../_base_/schedules/quickstart.py',
    '../_base_/default_runtime_seg.py'
]
# Background is three quarters of all pixels.
loss_decode = dict(
    type='CrossEntropyLoss', loss_weight=1.0, class_weight=[0.2] + [1.0] * 24)
head = dict(
    num_classes=25,
    dropout_ratio=0.0,
    norm_cfg=dict(type='BN', requires_grad=True),
    align_corners=False,
    loss_decode=loss_decode)
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(_base_.nano, drop_path_rate=0.0),
    decode_head=dict(
        _delete_=True,
        type='SegformerHead',
        in_channels=[32, 64, 128, 256],
        in_index=[0, 1, 2, 3],
        channels=64,
        **head),
    auxiliary_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=256,
        in_index=3,
        channels=256,
        num_convs=0,
        concat_input=False,
        **dict(head, loss_decode=dict(loss_decode, loss_weight=0.4))))
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, eta_min_ratio=0.01)
]
train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=8000,
    val_interval=2000)
# Averaged weights: those of an early checkpoint are of use, too.
custom_hooks = [
    dict(
        type='EMAHook',
        ema_type='MomentumAnnealingEMA',
        momentum=0.002,
        gamma=10)
]
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=200, max_keep_ckpts=20))
auto_scale_lr = dict(base_batch_size=8)
randomness = dict(seed=1)
