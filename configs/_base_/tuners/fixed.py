# Frozen backbone: only neck and head train.
tuner = dict(type='Fixed')
