# python tools/train.py configs/upernet/upernet_swin-l-mona_160k_ade20k.py
_base_ = ['./upernet_swin-l_160k_ade20k.py', '../_base_/tuners/mona.py']
# As released, for Mona only: less drop-path, and five times the baselines'
# learning rate for the whole model, heads included.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner),
        drop_path_rate=0.2))
# The longer key wins over `norm`: Mona's own norms decay.
optim_wrapper = dict(
    optimizer=dict(lr=3e-4),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(decay_mult=1.0))))
