# The base's second half: the same 24 classes in clutter, turned, stretched,
# shaded and blurred. The first half is what it can start from.
#   python tools/make_shapes.py data/varied --train 0 --val 0 --per-class 0 \
#       --varied-per-class 1200 --val-per-class 40
#   python tools/train.py configs/quickstart/pretrain_swin-nano_varied.py
#   python tools/ship_base.py work_dirs/pretrain_swin-nano_varied \
#       --pictures data/varied
_base_ = ['./pretrain_swin-nano_singles.py']
model = dict(
    backbone=dict(
        allow_random_base=False,
        init_cfg=dict(
            _delete_=True,
            type='Pretrained',
            # What tools/ship_base.py made of the first half.
            checkpoint='mona_mm://swin-nano_shapes-259c6a63.pth')))
data_root = 'data/varied/varied'
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
# Half the first half's: with that, and harder pictures, hardly anything was
# learnt.
optim_wrapper = dict(optimizer=dict(lr=5e-4))
train_cfg = dict(max_epochs=8, val_interval=1)
randomness = dict(seed=2)
