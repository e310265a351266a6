# A ViT small enough for two CPU cores. Not a model: the quickstart bases
# put `vit_nano` into the place of the full-size ones.
vit_nano = dict(
    type='mona_mm.TunedVisionTransformer',
    tuner=dict(type='Full'),
    arch=dict(
        embed_dims=48,
        num_layers=4,
        num_heads=4,
        feedforward_channels=192),
    patch_size=16,
    img_size=64,
    drop_path_rate=0.1,
    # Written by quickstart/pretrain_vit-nano_source.py.
    init_cfg=dict(
        type='Pretrained', checkpoint='work_dirs/quickstart/vit-nano.pth'))
vit_pyramid = dict(
    type='mona_mm.SimpleFeaturePyramid', in_channels=48, out_channels=64)
