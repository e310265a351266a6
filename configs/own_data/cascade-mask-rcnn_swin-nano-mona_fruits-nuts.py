# COCO layout: a folder of images and one JSON file.
# python tools/train.py \
#     configs/own_data/cascade-mask-rcnn_swin-nano-mona_fruits-nuts.py
_base_ = ['../quickstart/cascade-mask-rcnn_swin-nano-mona_shapes.py']
model = dict(
    roi_head=dict(
        bbox_head=[
            dict(head, num_classes=3)
            for head in _base_.model.roi_head.bbox_head
        ],
        mask_head=dict(num_classes=3)))

size = (256, 192)
train_pipeline = [
    dict(step, scale=size) if step.type == 'Resize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=size) if step.type == 'Resize' else step
    for step in _base_.test_pipeline
]
# These 18 images have no split: the metric is that of the training images,
# and says whether the model learns, not how well it generalizes.
own = dict(
    data_root='data/fruits_nuts/',
    metainfo=dict(classes=('date', 'fig', 'hazelnut')),
    ann_file='trainval.json',
    data_prefix=dict(img='images/'))
train_dataloader = dict(
    batch_size=2, dataset=dict(**own, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=2, dataset=dict(**own, pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(max_epochs=12, val_interval=6)

val_evaluator = dict(ann_file='data/fruits_nuts/trainval.json')
test_evaluator = val_evaluator
