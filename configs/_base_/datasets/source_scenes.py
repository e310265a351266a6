# Generated pictures of classes that no other set has:
#   python tools/make_shapes.py data/source --train 0 --val 0 --per-class 0 \
#       --val-per-class 0 --source-scenes 6000 --val-source-scenes 300
# Labels as ADE20K's: 0 counts for nothing and is taken off.
dataset_type = 'BaseSegDataset'
data_root = 'data/source/source_scenes'
metainfo = dict(
    classes=('background', 'pentagon', 'hexagon', 'heart', 'crescent',
             'arrow', 'letter_l', 'letter_t', 'half_disc', 'gear', 'drop',
             'bolt', 'chevron', 'trapezoid', 'parallelogram', 'kite', 'house',
             'letter_h', 'letter_u', 'letter_z', 'letter_f', 'hourglass',
             'leaf', 'flower', 'fish'))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(
        type='RandomResize',
        scale=(128, 128),
        ratio_range=(0.75, 1.5),
        keep_ratio=True),
    dict(type='RandomCrop', crop_size=(128, 128)),
    dict(
        type='Pad', size=(128, 128), pad_val=dict(img=(104, 116, 124),
                                                  seg=255)),
    dict(type='RandomFlip', prob=0.5),
    # Labels as coarse as the maps that are compared with them: the loss is
    # then a tenth of the work, not half of it.
    dict(
        type='KeyMapper',
        mapping=dict(img='gt_seg_map'),
        auto_remap=True,
        transforms=[
            dict(type='mmcv.Resize', scale=(32, 32), interpolation='nearest')
        ]),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        reduce_zero_label=True,
        data_root=data_root,
        data_prefix=dict(
            img_path='images/training', seg_map_path='annotations/training'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        metainfo=metainfo,
        reduce_zero_label=True,
        data_root=data_root,
        data_prefix=dict(
            img_path='images/validation',
            seg_map_path='annotations/validation'),
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
