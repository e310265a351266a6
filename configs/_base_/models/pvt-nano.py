# A PVT small enough for two CPU cores, as wide as swin-nano, whose place it
# can take in the quickstarts. Not a model.
pvt_nano = dict(
    _delete_=True,
    type='mona_mm.TunedPyramidVisionTransformer',
    tuner=dict(type='Full'),
    embed_dims=32,
    num_layers=[2, 2, 2, 2],
    num_heads=[1, 2, 4, 8],
    pretrain_img_size=64,
    drop_path_rate=0.1,
    # There is no base of this size: it shows that everything runs.
    allow_random_base=True)
