# python tools/train.py configs/real_study/retinanet_vit-s_bccd.py --tuner mona
# Real pretrained weights and real pictures, on a CPU. On random weights:
#   --cfg-options model.backbone.init_cfg=None \
#   model.backbone.allow_random_base=True
_base_ = [
    '../_base_/models/retinanet_swin-l.py', '../_base_/models/vit-s.py',
    '../_base_/datasets/bccd.py', '../_base_/schedules/real_study.py',
    '../_base_/default_runtime_det.py'
]
model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(_delete_=True, **_base_.vit_s),
    neck=dict(
        _delete_=True,
        type='mona_mm.SimpleFeaturePyramid',
        in_channels=384,
        out_channels=64,
        # RetinaNet starts at stride 8.
        scales=(2, 1, 0.5)),
    bbox_head=dict(
        num_classes=3,
        in_channels=64,
        stacked_convs=2,
        feat_channels=64,
        # Platelets are 10 pixels wide at 160x120, the others 25 and 50.
        anchor_generator=dict(octave_base_scale=2)))
# The study reads the last validation, never the best one.
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(max_keep_ckpts=1, save_best=None))
