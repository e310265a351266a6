# python tools/train.py configs/kld/kld-retinanet_swin-b_1x_star.py
_base_ = [
    '../_base_/models/kld-retinanet_swin-b.py', '../_base_/datasets/star.py',
    '../_base_/schedules/dota_1x.py', '../_base_/default_runtime_rot.py'
]
model = dict(
    type='mona_mm.WindowedRetinaNet',
    windows=_base_.windows,
    bbox_head=dict(num_classes=48))
