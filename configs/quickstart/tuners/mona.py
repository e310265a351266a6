_base_ = '../../_base_/tuners/mona.py'
# At 64 the adapters would outweigh the narrow first stages.
tuner = dict(bottleneck_dims=16)
