# python tools/train.py configs/retinanet/retinanet_swin-t_1x_voc.py
_base_ = [
    '../_base_/models/retinanet_swin-l.py', '../_base_/datasets/voc0712.py',
    '../_base_/schedules/voc_1x.py', '../_base_/default_runtime_det.py'
]
# Table 5. Assumed: all else as for Swin-L, drop-path 0.2 included.
# ImageNet-22k weights by Microsoft: OpenMMLab converted ImageNet-1k's alone.
model = dict(
    backbone=dict(
        arch='tiny', keep_frozen=('patch_embed', ),
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/'
            'releases/download/v1.0.8/swin_tiny_patch4_window7_224_22k.pth')),
    neck=dict(in_channels=[192, 384, 768]))
