tuner = dict(type='Rein', num_tokens=100, rank=16, scale=0.001)
