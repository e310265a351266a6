_base_ = '../../_base_/tuners/adaptformer.py'
# At 64 the insertions would outweigh the narrow first stages.
tuner = dict(bottleneck_dims=16)
