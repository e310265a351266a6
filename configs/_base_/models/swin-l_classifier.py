model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        num_classes=102,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True),
    backbone=dict(
        type='mona_mm.TunedSwinTransformer',
        tuner=dict(type='Full'),
        arch='large',
        out_indices=(3, ),
        drop_path_rate=0.3,
        with_cp=False,
        # As released: windows shift even in the 7x7 last stage, though the
        # pretraining did not do so. False follows the pretraining.
        pad_small_map=True,
        init_cfg=dict(
            type='Pretrained',
            # ImageNet-22k, 224 pixels, window 7.
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
            'pretrain/swin/'
            'swin_large_patch4_window7_224_22k_20220412-aeecf2aa.pth')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=102,
        in_channels=1536,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
        topk=(1, 5)))
