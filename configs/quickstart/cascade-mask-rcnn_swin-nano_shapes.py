# python tools/train.py \
#     configs/quickstart/cascade-mask-rcnn_swin-nano_shapes.py
_base_ = [
    '../_base_/models/cascade-mask-rcnn_swin-b.py',
    '../_base_/models/swin-nano.py', '../_base_/datasets/shapes_coco.py',
    '../_base_/schedules/quickstart.py', '../_base_/default_runtime_det.py'
]
model = dict(
    backbone=_base_.nano,
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        # The shapes are 18 to 56 pixels wide.
        anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64),
        bbox_head=[
            dict(
                head,
                num_shared_convs=1,
                in_channels=64,
                conv_out_channels=64,
                fc_out_channels=128,
                num_classes=6,
                norm_cfg=dict(type='BN', requires_grad=True))
            for head in _base_.model.roi_head.bbox_head
        ],
        mask_roi_extractor=dict(out_channels=64),
        mask_head=dict(
            num_convs=2, in_channels=64, conv_out_channels=64,
            num_classes=6)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=[
            dict(stage, sampler=dict(stage.sampler, num=32))
            for stage in _base_.model.train_cfg.rcnn
        ]),
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=50), rcnn=dict(max_per_img=20)))
default_hooks = dict(logger=dict(interval=10))
randomness = dict(seed=0)
