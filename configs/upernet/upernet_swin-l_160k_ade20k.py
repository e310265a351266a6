# python tools/train.py configs/upernet/upernet_swin-l_160k_ade20k.py
_base_ = [
    '../_base_/models/upernet_swin-l.py', '../_base_/datasets/ade20k.py',
    '../_base_/schedules/ade20k_160k.py', '../_base_/default_runtime_seg.py'
]
