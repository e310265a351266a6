# H2RBox-v2 of mmrotate 1.x. STAR-MMRotate (mmrotate 0.3) trained an earlier
# form of it: one second view per step, in 95 % of the steps rotated and in
# 5 % flipped, with a smooth L1 symmetry loss of weight 0.2 on the angles'
# difference modulo pi. This one has a rotated and a flipped view in every
# step, padded by reflection, and the snap loss. Both have the PSC coder.
angle_version = 'le90'
model = dict(
    type='H2RBoxV2Detector',
    crop_size=(1024, 1024),
    view_range=(0.25, 0.75),
    data_preprocessor=dict(
        type='mmdet.DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        boxtype2tensor=False),
    backbone=dict(
        type='mona_mm.TunedSwinTransformer',
        tuner=dict(type='Full'),
        arch='base',
        # Stride 4 feeds nothing here: an output norm that gets no gradient
        # would stop distributed training.
        out_indices=(1, 2, 3),
        drop_path_rate=0.2,
        with_cp=False,
        init_cfg=dict(
            type='Pretrained',
            # ImageNet-22k, 224 pixels, window 7.
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
            'pretrain/swin/'
            'swin_base_patch4_window7_224_22k_20220317-4f79f7c0.pth')),
    neck=dict(
        type='mmdet.FPN',
        in_channels=[256, 512, 1024],
        out_channels=256,
        start_level=0,
        add_extra_convs='on_output',
        num_outs=5,
        relu_before_extra_convs=True),
    bbox_head=dict(
        type='H2RBoxV2Head',
        num_classes=15,
        in_channels=256,
        angle_version=angle_version,
        stacked_convs=4,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        center_sampling=True,
        center_sample_radius=1.5,
        norm_on_bbox=True,
        centerness_on_reg=True,
        use_hbbox_loss=False,
        scale_angle=False,
        # DOTA's baseball diamond, storage tank and roundabout have no
        # direction; the first is shrunk after the fact.
        rotation_agnostic_classes=[1, 9, 11],
        agnostic_resize_classes=[1],
        use_circumiou_loss=True,
        use_standalone_angle=True,
        use_reweighted_loss_bbox=False,
        angle_coder=dict(
            type='PSCCoder',
            angle_version=angle_version,
            dual_freq=False,
            num_step=3,
            thr_mod=0),
        bbox_coder=dict(
            type='DistanceAnglePointCoder', angle_version=angle_version),
        loss_cls=dict(
            type='mmdet.FocalLoss',
            use_sigmoid=True,
            gamma=2.0,
            alpha=0.25,
            loss_weight=1.0),
        loss_bbox=dict(type='mmdet.IoULoss', loss_weight=1.0),
        loss_centerness=dict(
            type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
        loss_symmetry_ss=dict(
            type='H2RBoxV2ConsistencyLoss',
            use_snap_loss=True,
            loss_rot=dict(
                type='mmdet.SmoothL1Loss', loss_weight=1.0, beta=0.1),
            loss_flp=dict(
                type='mmdet.SmoothL1Loss', loss_weight=0.05, beta=0.1))),
    train_cfg=None,
    test_cfg=dict(
        nms_pre=2000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms_rotated', iou_threshold=0.1),
        max_per_img=2000))
# It learns from horizontal boxes: the rotated ones are hidden from it.
hbox_pipeline = [
    dict(type='mmdet.LoadImageFromFile', backend_args=None),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='hbox')),
    dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
    dict(type='mmdet.Resize', scale=(1024, 1024), keep_ratio=True),
    dict(
        type='mmdet.RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='mmdet.PackDetInputs')
]
