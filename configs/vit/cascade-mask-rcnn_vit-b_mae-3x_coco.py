# python tools/train.py configs/vit/cascade-mask-rcnn_vit-b_mae-3x_coco.py
# ViTDet's backbone (windows of 14 patches, four global blocks) and pyramid.
# Its recipe (100 epochs of large-scale jitter, batch 64, layer-wise decay of
# the learning rate) is not this one: ours is the one beside it, for DINOv2.
_base_ = ['./cascade-mask-rcnn_vit-b_dinov2-3x_coco.py']
model = dict(
    backbone=dict(_delete_=True, window_size=14, **_base_.mae))
