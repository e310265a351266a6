# UperNet on the maps of HST's side network; counted with what HST trains it
# has the published 39.9 M parameters (39.86 M).
_base_ = './upernet_swin-l.py'
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
    decode_head=dict(in_channels=[64, 128, 256, 384]),
    auxiliary_head=dict(in_channels=256))
