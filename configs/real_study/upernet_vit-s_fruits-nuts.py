# python tools/real_study.py --make-data
# python tools/train.py configs/real_study/upernet_vit-s_fruits-nuts.py \
#     --tuner mona
_base_ = [
    '../_base_/models/upernet_swin-l.py', '../_base_/models/vit-s.py',
    '../_base_/datasets/fruits_nuts_masks.py',
    '../_base_/schedules/real_study.py', '../_base_/default_runtime_seg.py'
]
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=None, size_divisor=16),
    backbone=dict(_delete_=True, **_base_.vit_s),
    neck=dict(
        type='mona_mm.SimpleFeaturePyramid',
        in_channels=384,
        out_channels=64,
        num_outs=4),
    decode_head=dict(
        in_channels=[64, 64, 64, 64],
        channels=64,
        num_classes=4,
        norm_cfg=norm_cfg),
    auxiliary_head=dict(
        in_channels=64, channels=32, num_classes=4, norm_cfg=norm_cfg),
    test_cfg=dict(mode='whole'))
train_cfg = dict(max_epochs=30, val_interval=10)
# Epochs, as in the other task; ADE20K's runtime counts iterations.
default_hooks = dict(
    logger=dict(interval=10, log_metric_by_epoch=True),
    # The study reads the last validation, never the best one.
    checkpoint=dict(
        by_epoch=True, interval=5, max_keep_ckpts=1, save_best=None))
log_processor = dict(by_epoch=True)
