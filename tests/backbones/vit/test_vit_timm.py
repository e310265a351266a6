"""Base files of timm, against timm's own networks (an optional extra)."""
import pytest
import torch
from helpers import image
from vits import nano_vit, shake

timm = pytest.importorskip(
    'timm', reason='needs the package timm: pip install timm')
ViT = timm.models.vision_transformer.VisionTransformer
SMALL = dict(img_size=64, patch_size=16, embed_dim=32, depth=4, num_heads=2,
             mlp_ratio=2, num_classes=5)


def build(cls=ViT, **kwargs):
    return cls(**{**SMALL, **kwargs})


def clip():
    return build(pre_norm=True, act_layer=timm.layers.get_act_layer(
        'quick_gelu'), norm_layer=torch.nn.LayerNorm)


def dinov2(**kwargs):
    return build(init_values=1e-5, patch_size=14, img_size=70, **kwargs)


SCALED = dict(layer_scale_init_value=1e-5, patch_size=14, img_size=70)


@pytest.mark.parametrize('make, kwargs', [
    (build, {}),
    (dinov2, SCALED),
    (lambda: dinov2(reg_tokens=4, no_embed_class=True),
     dict(SCALED, num_registers=4)),
    (lambda: build(timm.models.deit.VisionTransformerDistilled),
     dict(num_registers=1)),
    (clip, dict(pre_norm=True, norm_cfg=dict(type='LN', eps=1e-5),
                layer_cfgs=dict(act_cfg=dict(
                    type='mmpretrain.QuickGELU')))),
], ids=['vit', 'dinov2', 'registers', 'deit', 'clip'])
def test_network_of_timm_is_reproduced(make, kwargs, tmp_path):
    net = make().eval()
    shake(net)
    torch.save(net.state_dict(), tmp_path / 'timm.pth')
    ours = nano_vit('Fixed', out_type='raw', allow_random_base=False,
                    init_cfg=dict(type='Pretrained', checkpoint=str(
                        tmp_path / 'timm.pth')), **kwargs)
    ours.init_weights()
    size = kwargs.get('img_size', 64)
    x = image(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(
            ours.eval()(x)[0], net.forward_features(x), atol=1e-5, rtol=1e-5)


def test_head_of_an_average_keeps_its_norm(tmp_path):
    net = build(global_pool='avg', fc_norm=True).eval()
    shake(net)
    torch.save(net.state_dict(), tmp_path / 'timm.pth')
    ours = nano_vit('Fixed', out_type='avg_featmap', final_norm=False,
                    allow_random_base=False, init_cfg=dict(
                        type='Pretrained',
                        checkpoint=str(tmp_path / 'timm.pth')))
    ours.init_weights()
    x = image(2, 3, 64, 64)
    with torch.no_grad():
        expected = net.forward_head(net.forward_features(x), pre_logits=True)
        torch.testing.assert_close(ours.eval()(x)[0], expected, atol=1e-5,
                                   rtol=1e-5)
