# python tools/train.py configs/upernet/upernet_swin-l_80k_loveda.py
_base_ = [
    '../_base_/models/upernet_swin-l.py', '../_base_/datasets/loveda.py',
    '../_base_/schedules/seg_80k.py', '../_base_/default_runtime_seg.py'
]
model = dict(
    decode_head=dict(num_classes=7), auxiliary_head=dict(num_classes=7))
