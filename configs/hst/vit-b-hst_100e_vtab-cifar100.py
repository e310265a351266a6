# python tools/train.py configs/hst/vit-b-hst_100e_vtab-cifar100.py
_base_ = [
    '../_base_/models/vit-b_hst_classifier.py',
    '../_base_/datasets/vtab_cifar100.py',
    '../_base_/schedules/vtab_100e_hst.py',
    '../_base_/default_runtime_cls.py'
]
