# python tools/train.py configs/upernet/upernet_swin-l_80k_potsdam.py
_base_ = [
    '../_base_/models/upernet_swin-l.py', '../_base_/datasets/potsdam.py',
    '../_base_/schedules/seg_80k.py', '../_base_/default_runtime_seg.py'
]
model = dict(
    decode_head=dict(num_classes=6), auxiliary_head=dict(num_classes=6))
