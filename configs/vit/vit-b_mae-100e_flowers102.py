# python tools/train.py configs/vit/vit-b_mae-100e_flowers102.py
# Ours, as beside it for DINOv2; the norm of the average starts anew, as in
# MAE's own fine-tuning.
_base_ = ['./vit-b_dinov2-100e_flowers102.py']
model = dict(
    backbone=dict(_delete_=True, out_type='avg_featmap', **_base_.mae))
