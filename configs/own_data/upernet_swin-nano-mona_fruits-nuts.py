# ADE20K layout; docs/own_data.md makes it of COCO instances.
# python tools/train.py \
#     configs/own_data/upernet_swin-nano-mona_fruits-nuts.py
_base_ = ['../quickstart/upernet_swin-nano-mona_shapes.py']
model = dict(
    data_preprocessor=dict(size=(192, 256)),
    decode_head=dict(num_classes=4, loss_decode=dict(class_weight=None)),
    auxiliary_head=dict(num_classes=4, loss_decode=dict(class_weight=None)))

size = (256, 192)
train_pipeline = [
    dict(step, scale=size) if step.type == 'Resize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=size) if step.type == 'Resize' else step
    for step in _base_.test_pipeline
]
own = dict(
    data_root='data/fruits_nuts_ade',
    metainfo=dict(
        classes=('background', 'date', 'fig', 'hazelnut'),
        palette=[(0, 0, 0), (220, 20, 60), (30, 144, 255), (255, 165, 0)]))
train_dataloader = dict(
    batch_size=2, dataset=dict(**own, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=2, dataset=dict(**own, pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=30, val_interval=10)
