# HST's recipe for VTAB-1k: batch 64, warm-up over 10 epochs from 1e-7, rate,
# decay and drop-path per set (this is Pets' and CIFAR-100's). Assumed: one
# GPU, float32, everything decays, and the cosine ends at 0.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mona_mm.DeltaOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-2, betas=(0.9, 0.999), weight_decay=5e-4),
    paramwise_cfg=dict(delta_lr_mult=1.0))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-5, end=10,
        convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, convert_to_iter_based=True)
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=64)
