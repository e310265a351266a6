# Pascal VOC layout: Annotations, ImageSets/Main and JPEGImages.
# python tools/train.py configs/own_data/retinanet_swin-nano-mona_bccd.py
_base_ = ['../quickstart/retinanet_swin-nano-mona_shapes.py']
model = dict(bbox_head=dict(num_classes=3))

size = (320, 240)
train_pipeline = [
    dict(step, scale=size) if step.type == 'Resize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=size) if step.type == 'Resize' else step
    for step in _base_.test_pipeline
]
own = dict(
    data_root='data/BCCD/',
    metainfo=dict(classes=('RBC', 'WBC', 'Platelets')),
    data_prefix=dict(sub_data_root=''))
train_dataloader = dict(
    dataset=dict(
        **own,
        ann_file='ImageSets/Main/trainval.txt',
        # Two of its boxes are empty; their loss would be infinite.
        filter_cfg=dict(bbox_min_size=1),
        pipeline=train_pipeline))
val_dataloader = dict(
    dataset=dict(
        **own, ann_file='ImageSets/Main/test.txt', pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=8, val_interval=4)
