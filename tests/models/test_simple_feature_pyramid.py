"""The pyramid from one map (ViTDet)."""
import pytest
import torch
from mmengine.registry import MODELS
from torch.nn import functional as F

from mona_mm.models.simple_feature_pyramid import SimpleFeaturePyramid


def build(**kwargs):
    return MODELS.build(dict(
        type='mona_mm.SimpleFeaturePyramid', in_channels=16, out_channels=8,
        **kwargs))


def test_levels_are_built_from_the_last_map_alone():
    neck, x = build(), torch.randn(2, 16, 6, 9)
    assert isinstance(neck, SimpleFeaturePyramid)
    outs = neck((torch.full_like(x, torch.nan), x))
    assert [tuple(o.shape) for o in outs] == [
        (2, 8, 24, 36), (2, 8, 12, 18), (2, 8, 6, 9), (2, 8, 3, 4),
        (2, 8, 2, 2)]
    sum(o.sum() for o in outs).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_formula_of_a_level_and_of_the_one_behind():
    """x2: one transposed convolution, 1 x 1, norm, 3 x 3, norm."""
    neck = build(scales=(2, 1), num_outs=3)
    x = torch.randn(1, 16, 4, 4)
    up, narrow, first, wide, second = neck.levels[0]

    def norm(t, layer):
        mean = t.mean(1, True)
        var = ((t - mean)**2).mean(1, True)
        return (t - mean) / (var + 1e-6).sqrt() * layer.weight.view(
            1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)

    t = F.conv_transpose2d(x, up.weight, up.bias, stride=2)
    t = norm(F.conv2d(t, narrow.weight), first)
    t = norm(F.conv2d(t, wide.weight, padding=1), second)
    outs = neck([x])
    torch.testing.assert_close(outs[0], t, atol=1e-5, rtol=1e-5)
    assert torch.equal(outs[2], outs[1][:, :, ::2, ::2])


def test_parameters_follow_from_the_paper():
    """Channels halve with every enlargement (ViTDet's released code)."""
    c, d = 16, 8
    with torch.device('meta'):
        neck = build()
    own = [sum(p.numel() for p in level.parameters())
           for level in neck.levels]
    ends = [n * d + 2 * d + 9 * d * d + 2 * d
            for n in (c // 4, c // 2, c, c)]
    half = c * (c // 2) * 4 + c // 2
    quarter = (c // 2) * (c // 4) * 4 + c // 4
    assert own == [half + c + quarter + ends[0], half + ends[1], ends[2],
                   ends[3]]


@pytest.mark.parametrize('kwargs', [
    dict(scales=(8, 4)), dict(scales=(4, 2, 1), num_outs=2)])
def test_impossible_levels_are_refused(kwargs):
    with pytest.raises(ValueError, match='scales must be out of'):
        build(**kwargs)
