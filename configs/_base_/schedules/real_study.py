# Minutes to an hour on two CPU cores, float32. Not a recipe of the paper.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mona_mm.DeltaOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        # Neck and head start from nothing and have few steps; what trains in
        # the backbone, whatever it is, takes smaller ones. DINOv2's stream
        # is small (its blocks' outputs have a standard deviation of 0.05 to
        # 0.5): steps of 5e-4 drown it within an epoch.
        custom_keys=dict(backbone=dict(lr_mult=0.1, decay_mult=0.0))),
    clip_grad=dict(max_norm=10.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=20),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        convert_to_iter_based=True)
]
train_cfg = dict(by_epoch=True, max_epochs=6, val_interval=2)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=4)
