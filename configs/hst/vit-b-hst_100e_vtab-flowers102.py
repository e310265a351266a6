# python tools/train.py configs/hst/vit-b-hst_100e_vtab-flowers102.py
_base_ = [
    '../_base_/models/vit-b_hst_classifier.py',
    '../_base_/datasets/vtab_flowers102.py',
    '../_base_/schedules/vtab_100e_hst.py',
    '../_base_/default_runtime_cls.py'
]
model = dict(
    data_preprocessor=dict(num_classes=102),
    head=dict(num_classes=102))
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=5e-5))
# From 1e-7 here, too.
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1e-4),
    _base_.param_scheduler[1]
]
