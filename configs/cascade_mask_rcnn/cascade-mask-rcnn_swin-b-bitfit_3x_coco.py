# python tools/train.py \
#     configs/cascade_mask_rcnn/cascade-mask-rcnn_swin-b-bitfit_3x_coco.py
_base_ = [
    './cascade-mask-rcnn_swin-b_3x_coco.py', '../_base_/tuners/bitfit.py'
]
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
