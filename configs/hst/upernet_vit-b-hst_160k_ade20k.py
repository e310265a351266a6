# python tools/train.py configs/hst/upernet_vit-b-hst_160k_ade20k.py
_base_ = [
    '../_base_/models/upernet_vit-b_hst.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/ade20k_160k.py',
    '../_base_/default_runtime_seg.py',
    '../_base_/tuners/hst.py'
]
# Assumed, for HST's own is not published: ViT-Adapter's, with no decay on norms,
# biases and meta tokens.
optim_wrapper = dict(
    paramwise_cfg=dict(
        _delete_=True, delta_lr_mult=1.0, norm_decay_mult=0.0,
        bias_decay_mult=0.0, custom_keys=dict(tokens=dict(decay_mult=0.0))))
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
