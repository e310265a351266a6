# Hierarchical Side-Tuning (arXiv 2310.05393) for dense tasks; for
# classification the paper has side_dims=(32, 48, 64, 72).
tuner = dict(
    type='HST',
    num_tokens=1,
    side_dims=(64, 128, 256, 384),
    side_heads=(2, 4, 8, 12),
    mlp_ratio=4,
    drop_path_rate=0.0,
    train_norms=True,
    # BN as released, for classification; on several GPUs with few images
    # each SyncBN is the safer choice (assumed for dense tasks).
    norm_cfg=dict(type='BN'),
    with_cp=False)
