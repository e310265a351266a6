# The Swin paper's heads on the maps of HST's side network; counted with what
# HST trains they have the published 68.4 M parameters (68.36 M).
_base_ = './cascade-mask-rcnn_swin-b.py'
model = dict(
    data_preprocessor=dict(
        mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        _delete_=True,
        type='mona_mm.TunedVisionTransformer',
        tuner=dict(type='HST'),
        arch='base',
        patch_size=16,
        drop_path_rate=0.0,  # assumed for dense tasks
        with_cp=False,
        init_cfg=dict(
            type='Pretrained',
            # augreg, ImageNet-21k, 224 pixels (assumed for dense tasks).
            checkpoint='https://storage.googleapis.com/vit_models/augreg/'
            'B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0.npz')),
    neck=dict(in_channels=[64, 128, 256, 384]))
