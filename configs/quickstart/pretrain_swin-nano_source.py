# The base of all quickstarts, on classes that none of them uses:
#   python tools/train.py configs/quickstart/pretrain_swin-nano_source.py
# Its last checkpoint becomes work_dirs/quickstart/base.pth.
_base_ = ['./swin-nano_shapes.py']
model = dict(
    data_preprocessor=dict(num_classes=12),
    backbone=dict(allow_random_base=True, init_cfg=None),
    head=dict(num_classes=12))
data_root = 'data/shapes/source'
train_dataloader = dict(batch_size=64, dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=6, val_interval=2)
auto_scale_lr = dict(base_batch_size=64)
