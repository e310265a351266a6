_base_ = '../../_base_/tuners/lora.py'
# At 64 the insertions would outweigh the narrow first stages.
tuner = dict(rank=16)
