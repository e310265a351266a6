# As dota_1x.py, but as released for this detector every parameter decays.
# On DOTA the release halves the learning rate.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mona_mm.DeltaOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(delta_lr_mult=1.0),
    clip_grad=dict(max_norm=35, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0 / 3, by_epoch=False, end=500),
    dict(type='MultiStepLR', milestones=[8, 11], gamma=0.1)
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12)
# No labels to validate on, see datasets/dota.py.
val_cfg = None
test_cfg = dict(type='TestLoop')
# Assumed: one GPU. The release does not say how many it used.
auto_scale_lr = dict(enable=False, base_batch_size=2)
