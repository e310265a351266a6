tuner = dict(type='Adapter', bottleneck_dims=64, drop_rate=0.1)
