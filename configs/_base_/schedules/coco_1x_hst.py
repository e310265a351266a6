# As coco_3x_hst.py, for 12 epochs.
_base_ = './coco_3x_hst.py'
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, end=500),
    dict(type='MultiStepLR', milestones=[8, 11], gamma=0.1)
]
train_cfg = dict(max_epochs=12)
