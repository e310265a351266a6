# Full fine-tuning: every pretrained parameter trains.
tuner = dict(type='Full')
