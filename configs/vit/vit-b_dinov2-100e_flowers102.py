# python tools/train.py configs/vit/vit-b_dinov2-100e_flowers102.py
# Ours: the recipe that Swin has there. Patches of 14 pixels, as in the file;
# the classifier sees the average of all patches, because Mona does not touch
# the class token.
_base_ = [
    '../swin_classification/swin-l_100e_flowers102.py',
    '../_base_/models/vit-b.py'
]
model = dict(
    backbone=dict(
        **{
            '_delete_': True,
            **_base_.dinov2, 'patch_size': 14,
            'img_size': 37 * 14,
            'fit_patch': False,
            'out_type': 'avg_featmap',
            'final_norm': False,
            'map_final_norm': True
        }),
    neck=None,
    head=dict(in_channels=768))
optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, delta_lr_mult=1.0, **_base_.no_decay))
