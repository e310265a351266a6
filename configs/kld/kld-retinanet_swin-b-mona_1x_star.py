# python tools/train.py configs/kld/kld-retinanet_swin-b-mona_1x_star.py
_base_ = ['./kld-retinanet_swin-b_1x_star.py', '../_base_/tuners/mona.py']
# As STAR-MMRotate has it: linear layers start as PyTorch's do.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_base_.tuner, _delete_=True, linear_init='pytorch')))
