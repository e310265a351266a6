# python tools/train.py configs/kld/kld-retinanet_swin-b_1x_dota.py
_base_ = [
    '../_base_/models/kld-retinanet_swin-b.py', '../_base_/datasets/dota.py',
    '../_base_/schedules/dota_1x.py', '../_base_/default_runtime_rot.py'
]
# Recipe ours, after STAR's: the release has this detector on STAR alone.
