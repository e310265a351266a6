# The base of the quickstart's ViT, on classes that none of the tasks uses:
#   python tools/train.py configs/quickstart/pretrain_vit-nano_source.py
# Its last checkpoint becomes work_dirs/quickstart/vit-nano.pth.
_base_ = ['./pretrain_swin-nano_source.py', '../_base_/models/vit-nano.py']
model = dict(
    backbone=dict(
        **{
            '_delete_': True,
            **_base_.vit_nano,
            'init_cfg': None,
            'drop_path_rate': 0.0
        },
        allow_random_base=True,
        out_type='avg_featmap',
        # Tasks with maps use it, classifiers the norm of the average.
        final_norm=True),
    neck=None,
    head=dict(in_channels=48))
