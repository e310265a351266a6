# Cascade Mask R-CNN as with Swin-B, on Swin V2-B; the recipe is ours.
_base_ = ['./cascade-mask-rcnn_swin-b.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mona_mm.TunedSwinTransformerV2',
        tuner=dict(type='Full'),
        arch='base',
        # Those of the pretraining on 192 pixels, whose last map has 6 x 6.
        window_size=[12, 12, 12, 6],
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.3,
        with_cp=False,
        init_cfg=dict(
            type='Pretrained',
            # ImageNet-22k, 192 pixels: Microsoft's, converted by OpenMMLab.
            checkpoint='https://download.openmmlab.com/mmclassification/v0/'
            'swin-v2/pretrain/'
            'swinv2-base-w12_3rdparty_in21k-192px_20220803-f7dc9763.pth')))
