# A Swin V2 small enough for two CPU cores, as wide as swin-nano, whose place
# it can take in the quickstarts. Not a model.
swinv2_nano = dict(
    _delete_=True,
    type='mona_mm.TunedSwinTransformerV2',
    tuner=dict(type='Full'),
    arch=dict(
        embed_dims=32,
        depths=[2, 2, 2, 2],
        num_heads=[1, 2, 4, 8],
        extra_norm_every_n_blocks=0),
    window_size=4,
    drop_path_rate=0.1,
    # There is no base of this size: it shows that everything runs.
    allow_random_base=True)
