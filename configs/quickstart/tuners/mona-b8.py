_base_ = './mona.py'
# Half of the bottleneck.
tuner = dict(bottleneck_dims=8)
