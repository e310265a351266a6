"""ConvNeXt: its layouts against other libraries, its one branch, counts."""
import pytest
import torch
from families import library, tiny
from helpers import TUNERS, image, on_meta
from torch import nn
from torchvision.models import ConvNeXt as TorchvisionConvNeXt
from torchvision.models.convnext import CNBlockConfig

from mona_mm.backbones import TunedConvNeXt
from mona_mm.backbones.convnext.layouts import ConvNeXtNames
from mona_mm.checkpoint.convert import convert

DEPTHS, CHANNELS = [1, 1, 2, 1], [8, 16, 24, 32]
ARCH = dict(depths=DEPTHS, channels=CHANNELS)


def shaken(net):
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in net.parameters():
            param.add_(.1 * torch.randn(param.shape, generator=generator))
    return net.eval()


def load(state, folder, **kwargs):
    torch.save(dict(model=state), folder / 'base.pth')
    net = TunedConvNeXt(
        **{'arch': ARCH, **kwargs}, tuner=dict(type='Mona'),
        map_final_norm=True, init_cfg=dict(
            type='Pretrained', checkpoint=str(folder / 'base.pth')))
    net.init_weights()
    return net.eval()


def plain(net, kwargs):
    """The same weights without what Mona inserted."""
    fixed = TunedConvNeXt(**{'arch': ARCH, **kwargs},
                          tuner=dict(type='Fixed')).eval()
    fixed.load_state_dict({k: v for k, v in net.state_dict().items()
                           if k not in net.delta_names})
    return fixed


def agree(found, expected):
    top = expected.abs().max()
    torch.testing.assert_close(found / top, expected / top, rtol=1e-5,
                               atol=2e-6)


def known(state):
    return [one.name for one in ConvNeXtNames.layouts if one.knows(state)]


def test_torchvision_file_gives_torchvisions_features(tmp_path):
    stages = [CNBlockConfig(c, after, d) for c, after, d in zip(
        CHANNELS, [*CHANNELS[1:], None], DEPTHS)]
    theirs = shaken(TorchvisionConvNeXt(stages, num_classes=5))
    assert known(theirs.state_dict()) == ['torchvision']
    net = plain(load(theirs.state_dict(), tmp_path), {})
    x = image(2, 3, 64, 96)
    with torch.no_grad():
        expected = theirs.classifier[0](theirs.features(x))
        agree(net(x)[-1], expected)


@pytest.mark.parametrize('conv_mlp', [False, True])
@pytest.mark.parametrize('use_grn', [False, True])
def test_timm_file_gives_timms_features(use_grn, conv_mlp, tmp_path):
    timm = pytest.importorskip('timm', reason='an optional extra')
    theirs = shaken(timm.models.ConvNeXt(
        depths=DEPTHS, dims=CHANNELS, use_grn=use_grn, conv_mlp=conv_mlp,
        ls_init_value=None if use_grn else .5, num_classes=5))
    assert known(theirs.state_dict()) == ['timm']
    kwargs = dict(use_grn=use_grn)
    net = plain(load(theirs.state_dict(), tmp_path, **kwargs), kwargs)
    x = image(2, 3, 64, 96)
    with torch.no_grad():
        agree(net(x)[-1], theirs.head.norm(theirs.forward_features(x)))


def meta_names(state):
    """mmpretrain's names to those of Meta's own code, written out."""
    renamed = {}
    for key, value in state.items():
        for ours, theirs in (('depthwise_conv', 'dwconv'),
                             ('pointwise_conv', 'pwconv'),
                             ('norm3', 'norm')):
            key = key.replace(ours, theirs)
        # V2's code works on (N, H, W, C).
        renamed[key] = value.view(1, 1, 1, -1) if '.grn.' in key else value
    return renamed


@pytest.mark.parametrize('use_grn', [False, True])
def test_meta_file_loads_tensor_by_tensor(use_grn, tmp_path):
    layer_scale = 0. if use_grn else .5
    state = library('TunedConvNeXt', use_grn=use_grn, out_indices=[3],
                    layer_scale_init_value=layer_scale).state_dict()
    theirs = meta_names(state)
    theirs.update({'head.weight': torch.zeros(5, 32),
                   'head.bias': torch.zeros(5)})
    assert known(theirs) == ['meta'] and known(state) == []
    net = load(theirs, tmp_path, use_grn=use_grn)
    for key, value in state.items():
        assert torch.equal(net.state_dict()[key], value), key
    converted = convert(theirs)
    assert converted.layout == 'meta' and converted.tuner == 'none'
    assert set(converted.tensors) == set(state)
    back = ConvNeXtNames.layouts[0].from_mm(state)
    assert set(back) == set(theirs) - {'head.weight', 'head.bias'}
    assert all(torch.equal(back[k], theirs[k]) for k in back)


def test_point_wise_layers_may_be_convolutions():
    linear = tiny('TunedConvNeXt', 'Fixed').eval()
    conv = tiny('TunedConvNeXt', 'Fixed', linear_pw_conv=False).eval()
    conv.load_state_dict({
        k: v.view(conv.state_dict()[k].shape)
        for k, v in linear.state_dict().items()})
    x = image(1, 3, 64, 64)
    for one, other in zip(conv(x), linear(x)):
        agree(one, other)
    assert 'fc1' in linear.sites and 'fc1' not in conv.sites


def test_method_for_both_branches_stands_at_the_one_there_is():
    net = tiny('TunedConvNeXt', 'Mona')
    assert {n.split('.')[3] for n in net.delta_names} == {'after_ffn'}
    with pytest.raises(ValueError, match="'qkv'.*cannot be served"):
        tiny('TunedConvNeXt', 'LoRA')


def test_site_sees_the_map_row_by_row():
    net = tiny('TunedConvNeXt', 'Mona').eval()
    block, seen = net.stages[0][0], {}
    block.after_ffn.register_forward_hook(
        lambda module, args, out: seen.update(x=args[0], hw=args[1]))
    x = image(2, 8, 5, 7)
    fixed = tiny('TunedConvNeXt', 'Fixed').eval().stages[0][0]
    fixed.load_state_dict(block.state_dict(), strict=False)
    block(x)
    assert seen['hw'] == (5, 7)
    expected = fixed(x)  # without the site, as a map
    torch.testing.assert_close(
        seen['x'], expected.flatten(2).transpose(1, 2))


def test_averaged_vectors_are_those_of_the_library():
    plain_net = library('TunedConvNeXt', gap_before_final_norm=True)
    net = tiny('TunedConvNeXt', 'Fixed', gap_before_final_norm=True).eval()
    net.load_state_dict(plain_net.state_dict())
    x = image(2, 3, 64, 96)
    for one, other in zip(net(x), plain_net(x)):
        assert one.ndim == 2
        agree(one, other)


def test_v2_comes_without_layer_scale():
    net = TunedConvNeXt(arch=ARCH, use_grn=True)
    assert net.stages[0][0].gamma is None
    assert TunedConvNeXt(arch=ARCH).stages[0][0].gamma is not None


def test_frozen_stages_is_refused_because_the_tuner_decides():
    with pytest.raises(ValueError, match='frozen_stages'):
        tiny('TunedConvNeXt', frozen_stages=1)


BASE = dict(depths=[3, 3, 27, 3], channels=[128, 256, 512, 1024])


@pytest.mark.parametrize('arch, grn, tuners', [
    (ARCH, False, TUNERS), (ARCH, True, TUNERS),
    (BASE, False, ['Full', 'Mona'])])
def test_parameters_follow_from_the_widths(arch, grn, tuners):
    depths, widths = arch['depths'], arch['channels']
    blocks = [c for c, d in zip(widths, depths) for _ in range(d)]
    # Depth-wise 7x7, norm, C -> 4C -> C, and gamma or GRN's two of 4C.
    plain_ones = sum(49 * c + c + 2 * c + 4 * c * c + 4 * c + 4 * c * c + c
                     + (8 * c if grn else c) for c in blocks)
    stem = 4 * 4 * 3 * widths[0] + 3 * widths[0]
    down = sum(2 * a + 4 * a * b + b for a, b in zip(widths, widths[1:]))
    norms = sum(2 * c for c in widths)
    total = plain_ones + stem + down + norms
    n = 64
    last = blocks[-1]
    expected = {
        'Full': total,
        'Fixed': 0,
        # Convolutions and linear layers: C, 4C, C; norms: C.
        'BitFit': sum(c + c + 4 * c + c for c in blocks) + 2 * widths[0] + sum(
            a + b for a, b in zip(widths, widths[1:])) + sum(widths),
        'NormTuning': sum(2 * c for c in blocks) + 2 * widths[0] + sum(
            2 * a for a in widths[:-1]) + norms + (
                sum(8 * c for c in blocks) if grn else 0),
        'Partial': 49 * last + 3 * last + 8 * last**2 + 5 * last + (
            8 * last if grn else last),
        'Adapter': sum(2 * n * c + n + c for c in blocks),
        'AdaptFormer': sum(2 * n * c + n + c for c in blocks),
        # Two branches of rank 8, inner width C / 2: 49.5 C + 256 a layer.
        'LoRand': sum(99 * c // 2 + 256 for c in blocks),
        'Mona': sum((2 * n + 5) * c + n * n + 88 * n for c in blocks),
    }
    for tuner in set(expected) & set(tuners):
        with on_meta():
            share = TunedConvNeXt(arch=arch, tuner=dict(type=tuner),
                                  use_grn=grn).share()
        assert share.trained == expected[tuner], tuner
        assert share.frozen + share.released == total, tuner


def test_grn_counts_as_a_norm():
    net = tiny('TunedConvNeXt', 'NormTuning', use_grn=True)
    owners = {type(net.get_submodule(n.rpartition('.')[0])).__name__
              for n, p in net.named_parameters() if p.requires_grad}
    assert owners == {'LayerNorm2d', 'GRN'}
    assert isinstance(net.norm0, nn.LayerNorm)
