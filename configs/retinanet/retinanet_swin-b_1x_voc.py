# python tools/train.py configs/retinanet/retinanet_swin-b_1x_voc.py
_base_ = [
    '../_base_/models/retinanet_swin-l.py', '../_base_/datasets/voc0712.py',
    '../_base_/schedules/voc_1x.py', '../_base_/default_runtime_det.py'
]
# Table 5. Assumed: all else as for Swin-L, drop-path 0.2 included.
model = dict(
    backbone=dict(
        arch='base', keep_frozen=('patch_embed', ),
        init_cfg=dict(
            checkpoint='https://download.openmmlab.com/mmsegmentation/v0.5/'
            'pretrain/swin/'
            'swin_base_patch4_window7_224_22k_20220317-4f79f7c0.pth')),
    neck=dict(in_channels=[256, 512, 1024]))
