# Side network and head as the paper classifies.
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        num_classes=100,
        mean=[127.5, 127.5, 127.5],
        std=[127.5, 127.5, 127.5],
        to_rgb=True),
    backbone=dict(
        type='mona_mm.TunedVisionTransformer',
        tuner=dict(type='HST', side_dims=(32, 48, 64, 72)),
        arch='base',
        patch_size=16,
        drop_path_rate=0.0,
        with_cp=False,
        init_cfg=dict(
            type='Pretrained',
            # augreg, ImageNet-21k, 224 pixels.
            checkpoint='https://storage.googleapis.com/vit_models/augreg/'
            'B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0.npz')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='mona_mm.BatchNormLinearClsHead',
        num_classes=100,
        in_channels=72,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5)))
