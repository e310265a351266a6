# python tools/train.py \
#     configs/swin_classification/swin-l-adaptformer_100e_voc2007.py
_base_ = ['./swin-l_100e_voc2007.py', '../_base_/tuners/adaptformer.py']
model = dict(backbone=dict(tuner=dict(_delete_=True, **_base_.tuner)))
