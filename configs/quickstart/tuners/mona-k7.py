_base_ = './mona.py'
# Structure ablation: one 7x7 filter instead of 3x3, 5x5 and 7x7.
tuner = dict(kernel_sizes=(7, ))
