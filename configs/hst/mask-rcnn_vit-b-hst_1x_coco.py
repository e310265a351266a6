# python tools/train.py configs/hst/mask-rcnn_vit-b-hst_1x_coco.py
_base_ = [
    '../_base_/models/mask-rcnn_vit-b_hst.py',
    '../_base_/datasets/coco_instance_1x.py',
    '../_base_/schedules/coco_1x_hst.py',
    '../_base_/default_runtime_det.py',
    '../_base_/tuners/hst.py'
]
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
