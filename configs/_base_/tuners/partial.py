tuner = dict(type='Partial', num_blocks=1)
