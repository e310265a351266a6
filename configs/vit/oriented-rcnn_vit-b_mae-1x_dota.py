# python tools/train.py configs/vit/oriented-rcnn_vit-b_mae-1x_dota.py
# Ours, as beside it for DINOv2; windows as in ViTDet.
_base_ = ['./oriented-rcnn_vit-b_dinov2-1x_dota.py']
model = dict(
    backbone=dict(_delete_=True, window_size=14, **_base_.mae))
