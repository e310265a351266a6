# python tools/train.py configs/h2rbox_v2/h2rbox-v2_swin-b_1x_dota.py
_base_ = [
    '../_base_/models/h2rbox-v2_swin-b.py', '../_base_/datasets/dota.py',
    '../_base_/schedules/h2rbox_1x.py', '../_base_/default_runtime_rot.py'
]
train_dataloader = dict(dataset=dict(pipeline=_base_.hbox_pipeline))
# As released, on DOTA only.
optim_wrapper = dict(optimizer=dict(lr=5e-5))
