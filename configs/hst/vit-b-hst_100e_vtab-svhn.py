# python tools/train.py configs/hst/vit-b-hst_100e_vtab-svhn.py
_base_ = [
    '../_base_/models/vit-b_hst_classifier.py',
    '../_base_/datasets/vtab_svhn.py',
    '../_base_/schedules/vtab_100e_hst.py',
    '../_base_/default_runtime_cls.py'
]
model = dict(
    data_preprocessor=dict(num_classes=10),
    backbone=dict(drop_path_rate=0.1, tuner=dict(drop_path_rate=0.1)),
    head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(weight_decay=5e-5))
