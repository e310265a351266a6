# python tools/train.py \
#     configs/oriented_rcnn/oriented-rcnn_swin-b-full-dp03_1x_star.py
_base_ = ['./oriented-rcnn_swin-b_1x_star.py']
# STAR's other released recipe of Full and Mona: drop-path 0.3, and
# Microsoft's file of the weights.
model = dict(
    backbone=dict(
        drop_path_rate=0.3,
        init_cfg=dict(
            checkpoint='https://github.com/SwinTransformer/storage/releases/'
            'download/v1.0.0/swin_base_patch4_window7_224_22k.pth')))
