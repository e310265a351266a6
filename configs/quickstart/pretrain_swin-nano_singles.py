# The base of all quickstarts: 24 classes that none of them uses, one object
# per picture. From scenes of several, labelled pixel by pixel, no class is
# found within 2000 iterations.
#   python tools/make_shapes.py data/singles --train 0 --val 0 --per-class 0 \
#       --source-per-class 600 --val-per-class 40
#   python tools/train.py configs/quickstart/pretrain_swin-nano_singles.py
#   python tools/ship_base.py work_dirs/pretrain_swin-nano_singles \
#       --pictures data/singles
_base_ = ['./swin-nano_shapes.py']
model = dict(
    data_preprocessor=dict(num_classes=24),
    backbone=dict(
        allow_random_base=True,
        drop_path_rate=0.0,
        # Wider than usual: so narrow a network starts to learn sooner.
        init_cfg=dict(
            _delete_=True, type='TruncNormal', layer='Linear', std=0.08)),
    head=dict(num_classes=24))
data_root = 'data/singles/source'
train_dataloader = dict(batch_size=32, dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=100),
    dict(
        type='CosineAnnealingLR',
        convert_to_iter_based=True,
        eta_min_ratio=0.01)
]
train_cfg = dict(max_epochs=16, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2))
auto_scale_lr = dict(base_batch_size=32)
randomness = dict(seed=1)
