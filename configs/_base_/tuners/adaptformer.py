tuner = dict(type='AdaptFormer', bottleneck_dims=64, scale=0.1, drop_rate=0.1)
