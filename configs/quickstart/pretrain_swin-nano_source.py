# The base of all quickstarts, on classes that none of them uses:
#   python tools/train.py configs/quickstart/pretrain_swin-nano_source.py
# Its last checkpoint becomes work_dirs/quickstart/base.pth.
_base_ = ['./swin-nano_shapes.py']
model = dict(
    data_preprocessor=dict(num_classes=12),
    backbone=dict(
        allow_random_base=True,
        drop_path_rate=0.0,
        # Wider than usual: so narrow a network starts to learn sooner.
        init_cfg=dict(
            _delete_=True, type='TruncNormal', layer='Linear', std=0.08)),
    head=dict(num_classes=12))
data_root = 'data/shapes/source'
train_dataloader = dict(batch_size=32, dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=14, val_interval=7)
auto_scale_lr = dict(base_batch_size=32)
# So narrow a network leaves the start's plateau early or late, by luck.
randomness = dict(seed=1)
