# One folder of images per class; docs/own_data.md writes these.
# python tools/train.py configs/own_data/swin-nano-mona_digits.py
_base_ = ['../quickstart/swin-nano-mona_shapes.py']
model = dict(
    data_preprocessor=dict(num_classes=10), head=dict(num_classes=10))

# A mirrored digit is not that digit any more.
train_pipeline = [
    step for step in _base_.train_pipeline if step.type != 'RandomFlip'
]
own = dict(data_root='data/digits')
train_dataloader = dict(dataset=dict(**own, pipeline=train_pipeline))
val_dataloader = dict(dataset=own)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=4, val_interval=2)
