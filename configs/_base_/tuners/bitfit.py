tuner = dict(type='BitFit')
