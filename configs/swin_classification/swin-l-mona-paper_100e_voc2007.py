# python tools/train.py \
#     configs/swin_classification/swin-l-mona-paper_100e_voc2007.py
_base_ = ['./swin-l_100e_voc2007.py', '../_base_/tuners/mona.py']
# As the paper's table has it: twice the baselines' learning rate. The release
# uses theirs.
model = dict(
    backbone=dict(
        type='mona_mm.SwinTransformerMona',
        tuner=dict(_delete_=True, **_base_.tuner)))
optim_wrapper = dict(optimizer=dict(lr=2 * 5e-4 * (4 * 4) / 512))
