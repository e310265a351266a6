# A ConvNeXt small enough for two CPU cores, as wide as swin-nano, whose place
# it can take in the quickstarts. Not a model.
convnext_nano = dict(
    _delete_=True,
    type='mona_mm.TunedConvNeXt',
    tuner=dict(type='Full'),
    arch=dict(depths=[2, 2, 2, 2], channels=[32, 64, 128, 256]),
    layer_scale_init_value=1.0,
    drop_path_rate=0.1,
    # There is no base of this size: it shows that everything runs.
    allow_random_base=True)
