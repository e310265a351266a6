# ViT-B with public base files, in the place of another backbone:
#   model = dict(backbone=dict(_delete_=True, **_base_.dinov2))
# DINOv2 (Meta's file), trained with patches of 14 pixels. Detectors and
# segmenters want strides of powers of two: kernel resized to 16, as Rein does
# it; positions as in the file, 37 x 37.
dinov2 = dict(
    type='mona_mm.TunedVisionTransformer',
    tuner=dict(type='Full'),
    arch='base',
    patch_size=16,
    img_size=37 * 16,
    fit_patch=True,
    layer_scale_init_value=1e-5,
    drop_path_rate=0.1,
    with_cp=False,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/'
        'dinov2_vitb14_pretrain.pth'))
# MAE (Meta's file, 1600 epochs on ImageNet-1k); its decoder is left out.
mae = dict(
    type='mona_mm.TunedVisionTransformer',
    tuner=dict(type='Full'),
    arch='base',
    patch_size=16,
    img_size=224,
    # MAE's last norm belongs to its decoder's side.
    final_norm=False,
    drop_path_rate=0.1,
    with_cp=False,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://dl.fbaipublicfiles.com/mae/pretrain/'
        'mae_pretrain_vit_base.pth'))
# Norms by their kind, not by their name: a ViT calls them ln1 and ln2. No
# decay on norms, biases and positions, as ViT-Adapter has it.
no_decay = dict(
    norm_decay_mult=0.0,
    bias_decay_mult=0.0,
    custom_keys=dict(
        pos_embed=dict(decay_mult=0.0),
        cls_token=dict(decay_mult=0.0),
        gamma1=dict(decay_mult=0.0),
        gamma2=dict(decay_mult=0.0)))
