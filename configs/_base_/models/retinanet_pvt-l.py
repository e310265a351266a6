# RetinaNet as with Swin-L, on PVT-Large. The paper publishes numbers and no
# recipe for it: assumed is that of its Swin runs on Pascal VOC.
_base_ = ['./retinanet_swin-l.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mona_mm.TunedPyramidVisionTransformer',
        tuner=dict(type='Full'),
        num_layers=[3, 8, 27, 3],
        out_indices=(1, 2, 3),
        drop_path_rate=0.2,
        with_cp=False,
        init_cfg=dict(
            type='Pretrained',
            # ImageNet-1k, 224 pixels: the authors' release.
            checkpoint='https://github.com/whai362/PVT/releases/download/v2/'
            'pvt_large.pth')),
    neck=dict(in_channels=[128, 320, 512]))
