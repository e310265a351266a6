tuner = dict(type='LoRand', branches=2, kernel_dims=8, bottleneck_dims=0.5)
