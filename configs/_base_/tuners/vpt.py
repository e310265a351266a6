# The paper searches the number of tokens for every task, from 1 to 200.
tuner = dict(type='VPT', num_tokens=10, drop_rate=0.)
