"""The Mona layer against the paper and the released description."""
import pytest
import torch
from torch.nn import functional as F

from mona_mm.tuners import build_tuner
from mona_mm.tuners.mona import MonaLayer


def layer(dims=32, **kwargs) -> MonaLayer:
    tuner = build_tuner(dict(type='Mona', **kwargs))
    return tuner.build('after_attn', dims)


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize('m', [96, 128, 1536])
@pytest.mark.parametrize('n', [32, 64, 128])
def test_layer_has_the_released_number_of_parameters(m, n):
    assert count(layer(m, bottleneck_dims=n)) == (2*n + 5)*m + n**2 + 88*n


def test_layer_without_scaled_norm_lacks_norm_gamma_and_gammax():
    # LayerNorm weight and bias, gamma and gammax: four vectors of width m.
    assert count(layer(96)) - count(layer(96, scaled_norm=False)) == 4 * 96


@pytest.mark.parametrize('sizes', [(7, ), (3, 3, 3), (1, 9)])
def test_kernel_sizes_set_the_depth_wise_filters(sizes):
    filters = layer(kernel_sizes=sizes).adapter_conv.filters
    assert [f.kernel_size for f in filters] == [(s, s) for s in sizes]


def test_forward_is_the_released_formula():
    mona = layer(16, bottleneck_dims=8, drop_rate=0.).double()
    for p in mona.parameters():
        torch.nn.init.normal_(p, std=.3)
    p = dict(mona.named_parameters())
    x = torch.randn(2, 5 * 3, 16, dtype=torch.double)
    y = F.layer_norm(x, (16, ), p['norm.weight'], p['norm.bias'], 1e-5)
    y = y * p['gamma'] + x * p['gammax']
    y = y @ p['project1.weight'].T + p['project1.bias']
    z = y.reshape(2, 5, 3, 8).permute(0, 3, 1, 2)
    z = z + sum(
        F.conv2d(z, p[f'adapter_conv.conv{i}.weight'],
                 p[f'adapter_conv.conv{i}.bias'], padding=i, groups=8)
        for i in (1, 2, 3)) / 3
    z = z + F.conv2d(z, p['adapter_conv.projector.weight'],
                     p['adapter_conv.projector.bias'])
    z = F.gelu(z).permute(0, 2, 3, 1).reshape(2, 15, 8)
    expected = x + z @ p['project2.weight'].T + p['project2.bias']
    torch.testing.assert_close(mona(x, (5, 3)), expected)


def test_start_values_are_the_released_ones():
    mona = layer(192)
    assert torch.equal(mona.gamma, torch.full((192, ), 1e-6))
    assert torch.equal(mona.gammax, torch.ones(192))
    for linear in (mona.project1, mona.project2):
        # 12,288 draws: the deviation's standard error is below 0.7 %.
        assert linear.weight.std().item() == pytest.approx(.02, rel=.03)
        assert not linear.bias.any()


@pytest.mark.parametrize('bad, named', [
    (dict(bottleneck_dims=0), 'bottleneck_dims'),
    (dict(bottleneck_dims=6.5), 'bottleneck_dims'),
    (dict(kernel_sizes=(3, 4)), 'kernel_sizes'),
    (dict(kernel_sizes=()), 'kernel_sizes'),
    (dict(kernel_sizes=7), 'kernel_sizes'),
    (dict(drop_rate=1.5), 'drop_rate'),
])
def test_bad_arguments_are_named_with_their_value(bad, named):
    with pytest.raises(ValueError, match=named) as error:
        build_tuner(dict(type='Mona', **bad))
    assert repr(bad[named]) in str(error.value)


@pytest.mark.parametrize('init, std', [
    ('trunc_normal', .02),
    # PyTorch draws from U(-b, b), b = 1 / sqrt(1024): std b / sqrt(3).
    ('pytorch', 1 / 1024**.5 / 3**.5)])
def test_linear_layers_start_as_told(init, std):
    mona = layer(1024, bottleneck_dims=256, linear_init=init)
    spread = float(mona.project1.weight.detach().std())
    assert spread == pytest.approx(std, rel=.02)
    zero = not any(p.bias.any() for p in (mona.project1, mona.project2))
    assert zero == (init == 'trunc_normal')


def test_layer_that_starts_as_the_identity_changes_nothing_and_learns():
    mona = layer(32, bottleneck_dims=8, linear_init='identity')
    x = torch.randn(2, 16, 32)
    y = mona(x, (4, 4))
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert mona.project2.weight.grad.abs().max() > 0
