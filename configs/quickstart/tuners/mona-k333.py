_base_ = './mona.py'
# Structure ablation: three 3x3 filters instead of 3x3, 5x5 and 7x7.
tuner = dict(kernel_sizes=(3, 3, 3))
