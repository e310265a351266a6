tuner = dict(type='LoRA', rank=64, alpha=1, targets=('q', 'v'))
