# python tools/train.py \
#     configs/cascade_mask_rcnn/cascade-mask-rcnn_swinv2-b_3x_coco.py
_base_ = [
    '../_base_/models/cascade-mask-rcnn_swinv2-b.py',
    '../_base_/datasets/coco_instance.py', '../_base_/schedules/coco_3x.py',
    '../_base_/default_runtime_det.py'
]
# Its position bias is made by an MLP; Microsoft decays neither of these.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            cpb_mlp=dict(decay_mult=0.0), logit_scale=dict(decay_mult=0.0))))
