# python tools/train.py \
#     configs/cascade_mask_rcnn/cascade-mask-rcnn_convnext-b_3x_coco.py
_base_ = [
    '../_base_/models/cascade-mask-rcnn_convnext-b.py',
    '../_base_/datasets/coco_instance.py', '../_base_/schedules/coco_3x.py',
    '../_base_/default_runtime_det.py'
]
