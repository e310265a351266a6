# A Swin small enough for two CPU cores. Not a model: the quickstart bases
# put `nano` into the backbone of the full-size ones.
nano = dict(
    arch=dict(
        _delete_=True,
        embed_dims=32,
        depths=[2, 2, 4, 1],
        num_heads=[1, 2, 4, 8]),
    # 4 divides the maps of 64 and 128 pixel pictures; 7 would mostly pad.
    window_size=4,
    drop_path_rate=0.1,
    # Comes with the package: see mona_mm/bases/swin-nano_shapes.json.
    init_cfg=dict(
        type='Pretrained', checkpoint='mona_mm://swin-nano_shapes-060e46c7.pth'))
