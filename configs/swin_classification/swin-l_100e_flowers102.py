# python tools/train.py configs/swin_classification/swin-l_100e_flowers102.py
_base_ = [
    '../_base_/models/swin-l_classifier.py',
    '../_base_/datasets/flowers102.py',
    '../_base_/schedules/classification_100e.py',
    '../_base_/default_runtime_cls.py'
]
