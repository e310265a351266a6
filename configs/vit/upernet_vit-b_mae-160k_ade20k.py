# python tools/train.py configs/vit/upernet_vit-b_mae-160k_ade20k.py
# Ours, as beside it for DINOv2. MAE's own fine-tuning decays the learning
# rate by layers (0.65, 1e-4), which a frozen backbone has no use for.
_base_ = ['./upernet_vit-b_dinov2-160k_ade20k.py']
model = dict(
    backbone=dict(_delete_=True, out_indices=(3, 5, 7, 11), **_base_.mae))
