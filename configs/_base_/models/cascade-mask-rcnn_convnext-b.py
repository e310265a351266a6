# Cascade Mask R-CNN as with Swin-B, on ConvNeXt-B; the recipe is ours.
_base_ = ['./cascade-mask-rcnn_swin-b.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mona_mm.TunedConvNeXt',
        tuner=dict(type='Full'),
        arch='base',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.3,
        with_cp=False,
        init_cfg=dict(
            type='Pretrained',
            # ImageNet-22k, 224 pixels: Meta's, converted by OpenMMLab.
            checkpoint='https://download.openmmlab.com/mmclassification/v0/'
            'convnext/convnext-base_3rdparty_in21k_20220124-13b83eec.pth')))
