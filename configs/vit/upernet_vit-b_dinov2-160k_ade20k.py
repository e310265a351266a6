# python tools/train.py configs/vit/upernet_vit-b_dinov2-160k_ade20k.py
# Ours: Swin's recipe, which is ViT-Adapter's too (AdamW 6e-5, weight decay
# 0.01, 160k); maps of four blocks at four scales, as BEiT and MAE have it.
_base_ = [
    '../upernet/upernet_swin-l_160k_ade20k.py', '../_base_/models/vit-b.py'
]
model = dict(
    backbone=dict(
        **{
            '_delete_': True,
            **_base_.dinov2, 'out_indices': (3, 5, 7, 11),
            'final_norm': False
        }),
    neck=dict(
        type='mmseg.Feature2Pyramid',
        embed_dim=768,
        rescales=[4, 2, 1, 0.5],
        norm_cfg=dict(type='SyncBN', requires_grad=True)),
    decode_head=dict(in_channels=[768, 768, 768, 768]),
    auxiliary_head=dict(in_channels=768))
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, delta_lr_mult=1.0, **_base_.no_decay))
