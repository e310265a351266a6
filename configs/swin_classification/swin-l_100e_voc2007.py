# python tools/train.py configs/swin_classification/swin-l_100e_voc2007.py
_base_ = [
    '../_base_/models/swin-l_classifier.py',
    '../_base_/datasets/voc2007_cls.py',
    '../_base_/schedules/classification_100e.py',
    '../_base_/default_runtime_cls.py'
]
model = dict(data_preprocessor=dict(num_classes=20), head=dict(num_classes=20))
