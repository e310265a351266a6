# Scales and shifts start at N(1, 0.02) and N(0, 0.02).
tuner = dict(type='SSF')
