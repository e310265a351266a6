# python tools/train.py configs/swin_classification/swin-l_20e_cifar100.py
_base_ = [
    '../_base_/models/swin-l_classifier.py', '../_base_/datasets/cifar100.py',
    '../_base_/schedules/classification_20e.py',
    '../_base_/default_runtime_cls.py'
]
# This dataset's images are RGB already.
model = dict(
    data_preprocessor=dict(num_classes=100, to_rgb=False),
    head=dict(num_classes=100))
