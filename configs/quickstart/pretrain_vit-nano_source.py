# The base of the quickstart's ViT, on classes that none of the tasks uses:
#   python tools/make_shapes.py data/singles --train 0 --val 0 --per-class 0 \
#       --source-per-class 200
#   python tools/train.py configs/quickstart/pretrain_vit-nano_source.py
# Its last checkpoint becomes work_dirs/quickstart/vit-nano.pth.
_base_ = ['./vit-nano_shapes.py']
model = dict(
    data_preprocessor=dict(num_classes=24),
    backbone=dict(
        allow_random_base=True,
        drop_path_rate=0.0,
        # Tasks with maps use it, classifiers the norm of the average.
        final_norm=True,
        init_cfg=None),
    head=dict(num_classes=24))
data_root = 'data/singles/source'
train_dataloader = dict(batch_size=32, dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=14, val_interval=7)
auto_scale_lr = dict(base_batch_size=32)
# So narrow a network leaves the start's plateau early or late, by luck.
randomness = dict(seed=1)
