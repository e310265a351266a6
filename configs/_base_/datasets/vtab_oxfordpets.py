# VTAB-1k trains on 1,000 images of a set (800 + 200) and tests on all of its
# test images. Its list comes out of TensorFlow Datasets; here the 1,000 are
# spread evenly over the 3,680 of trainval, so accuracies are near the
# published protocol's, not the same. No augmentation; assumed: bicubic.
_base_ = './oxfordpets.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='Resize',
        scale=(224, 224),
        interpolation='bicubic',
        backend='pillow'),
    dict(type='PackInputs')
]
test_pipeline = train_pipeline
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        indices=[i * 3680 // 1000 for i in range(1000)],
        pipeline=train_pipeline))
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
