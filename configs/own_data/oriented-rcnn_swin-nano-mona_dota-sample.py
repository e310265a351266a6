# DOTA layout: a folder of tiles and one of label files.
# python tools/train.py \
#     configs/own_data/oriented-rcnn_swin-nano-mona_dota-sample.py
_base_ = ['../quickstart/oriented-rcnn_swin-nano-mona_shapes.py']
model = dict(roi_head=dict(bbox_head=dict(num_classes=1)))

size = (256, 256)
train_pipeline = [
    dict(step, scale=size) if step.type == 'mmdet.Resize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=size) if step.type == 'mmdet.Resize' else step
    for step in _base_.test_pipeline
]
# A single tile, trained on and tested on. Three of its four boxes lie outside
# the picture: this shows that the layout is read, not that a model learns.
own = dict(
    data_root='data/dota_sample/',
    metainfo=dict(classes=('plane', )),
    ann_file='labelTxt/',
    data_prefix=dict(img_path='images/'))
train_dataloader = dict(
    batch_size=1, dataset=dict(**own, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, dataset=dict(**own, pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=20, val_interval=20)
default_hooks = dict(checkpoint=dict(interval=20))
