# python tools/train.py configs/hst/vit-b-hst_100e_vtab-oxfordpets.py
_base_ = [
    '../_base_/models/vit-b_hst_classifier.py',
    '../_base_/datasets/vtab_oxfordpets.py',
    '../_base_/schedules/vtab_100e_hst.py',
    '../_base_/default_runtime_cls.py'
]
model = dict(
    data_preprocessor=dict(num_classes=37),
    head=dict(num_classes=37))
