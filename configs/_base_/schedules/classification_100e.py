# 4 GPUs x 4 images. float16 as released; bfloat16 is the safer choice where
# the GPU has it: --cfg-options optim_wrapper.dtype=bfloat16
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='float16',
    loss_scale='dynamic',
    constructor='mona_mm.DeltaOptimWrapperConstructor',
    optimizer=dict(
        type='AdamW',
        lr=5e-4 * (4 * 4) / 512,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.05),
    paramwise_cfg=dict(
        delta_lr_mult=1.0,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={
            'absolute_pos_embed': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
            # Mona's depth-wise filters: mmcv 1.x decays their biases too.
            'adapter_conv.conv': dict(decay_mult=1.0)
        }),
    clip_grad=dict(max_norm=5.0))
# The cosine runs from the first epoch under the warm-up, as in mmcv 1.x.
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, end=20,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        convert_to_iter_based=True)
]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=16)
