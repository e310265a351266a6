# mmdetection's 1x pipeline: (1333, 800), flips; 8 GPUs x 2 images.
_base_ = './coco_instance.py'
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs')
]
train_dataloader = dict(
    batch_size=2, dataset=dict(pipeline=train_pipeline))
