# DOTA layout; docs/own_data.md makes it of COCO instances.
# python tools/train.py \
#     configs/own_data/oriented-rcnn_swin-nano-mona_fruits-nuts.py
_base_ = ['../quickstart/oriented-rcnn_swin-nano-mona_shapes.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=3)))

size = (256, 192)
train_pipeline = [
    dict(step, scale=size) if step.type == 'mmdet.Resize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=size) if step.type == 'mmdet.Resize' else step
    for step in _base_.test_pipeline
]
own = dict(
    data_root='data/fruits_nuts_dota/',
    metainfo=dict(classes=('date', 'fig', 'hazelnut')))
train_dataloader = dict(
    batch_size=2, dataset=dict(**own, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=2, dataset=dict(**own, pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=30, val_interval=30)
