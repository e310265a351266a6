# python tools/train.py configs/real_study/retinanet_vit-s-hst_bccd.py
# HST's side network makes maps of four strides itself: a feature pyramid
# network joins those from stride 8 on, where the others have the simple one.
_base_ = ['./retinanet_vit-s_bccd.py', '../_base_/tuners/hst.py']
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)),
    neck=dict(
        _delete_=True,
        type='FPN',
        in_channels=[64, 128, 256, 384],
        out_channels=64,
        start_level=1,
        add_extra_convs='on_input',
        num_outs=5))
