# STAR: trained on patches of 1024 with an overlap of 200, tested on whole
# images. `windows` is what the detectors of this dataset take: they cut the
# image at test time and merge what they find (IoU 0.4). As released, the image
# is padded to a multiple of `pad_divisor` before, and small ones to a window.
dataset_type = 'mona_mm.STARDataset'
data_root = 'data/STAR/'
backend_args = None
windows = dict(size=1024, gap=200, iou_threshold=0.4, pad_divisor=32)
train_pipeline = [
    dict(type='mmdet.LoadImageFromFile', backend_args=backend_args),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
    dict(type='mmdet.Resize', scale=(1024, 1024), keep_ratio=True),
    # A quarter each: horizontal, vertical, diagonal, none.
    dict(
        type='mmdet.RandomFlip',
        prob=0.75,
        direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='mmdet.PackDetInputs')
]
test_pipeline = [
    dict(type='mmdet.LoadImageFromFile', backend_args=backend_args),
    dict(type='mmdet.LoadAnnotations', with_bbox=True, box_type='qbox'),
    dict(type='ConvertBoxType', box_type_mapping=dict(gt_bboxes='rbox')),
    # No Resize: windows are cut from the image as it is.
    dict(
        type='mmdet.PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape'))
]
train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    batch_sampler=None,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='train/annfiles/',
        data_prefix=dict(img_path='train/images/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline))
# The release looks at the test set during training; here it is kept for the
# end.
val_dataloader = None
val_evaluator = None
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='test/annfiles/',
        data_prefix=dict(img_path='test/images/'),
        test_mode=True,
        drop_empty=True,  # as released
        pipeline=test_pipeline))
test_evaluator = dict(
    type='DOTAMetric', metric='mAP', iou_thrs=0.5, eval_mode='11points')
