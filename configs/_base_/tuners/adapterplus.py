tuner = dict(type='AdapterPlus', bottleneck_dims=8, drop_path_rate=0.1)
