# python tools/train.py configs/upernet/upernet_vit-b-hst_160k_ade20k.py
_base_ = [
    '../_base_/models/upernet_vit-b_hst.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/tuners/hst.py'
]
# Assumed, for HST's own is not published: the schedule of ViT-Adapter.
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
