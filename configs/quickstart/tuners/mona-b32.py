_base_ = './mona.py'
# Twice the bottleneck.
tuner = dict(bottleneck_dims=32)
