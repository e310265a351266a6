tuner = dict(type='DoRA', rank=64, alpha=1, targets=('q', 'v'))
