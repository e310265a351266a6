_base_ = './mona.py'
# Structure ablation: no scaled layer norm.
tuner = dict(scaled_norm=False)
