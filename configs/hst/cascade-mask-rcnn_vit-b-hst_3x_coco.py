# python tools/train.py configs/hst/cascade-mask-rcnn_vit-b-hst_3x_coco.py
_base_ = [
    '../_base_/models/cascade-mask-rcnn_vit-b_hst.py',
    '../_base_/datasets/coco_instance.py',
    '../_base_/schedules/coco_3x_hst.py',
    '../_base_/default_runtime_det.py',
    '../_base_/tuners/hst.py'
]
train_dataloader = dict(batch_size=2)
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
