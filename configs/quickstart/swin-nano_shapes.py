# python tools/train.py configs/quickstart/swin-nano_shapes.py
_base_ = [
    '../_base_/models/swin-l_classifier.py', '../_base_/models/swin-nano.py',
    '../_base_/datasets/shapes_folders.py',
    '../_base_/schedules/quickstart.py', '../_base_/default_runtime_cls.py'
]
model = dict(
    data_preprocessor=dict(num_classes=6),
    backbone=_base_.nano,
    head=dict(in_channels=256, num_classes=6))
train_cfg = dict(max_epochs=12, val_interval=4)
default_hooks = dict(logger=dict(interval=10))
randomness = dict(seed=0)
