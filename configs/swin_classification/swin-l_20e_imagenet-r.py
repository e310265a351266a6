# python tools/train.py configs/swin_classification/swin-l_20e_imagenet-r.py
_base_ = [
    '../_base_/models/swin-l_classifier.py',
    '../_base_/datasets/imagenet_r.py',
    '../_base_/schedules/classification_20e.py',
    '../_base_/default_runtime_cls.py'
]
model = dict(
    data_preprocessor=dict(num_classes=200), head=dict(num_classes=200))
