"""A base for pictures of another number of channels."""
import pytest
import torch
from deltas import MICRO, make_base, micro, move, save_delta
from mmpretrain.models import SwinTransformer
from torch import nn

from mona_mm.backbones.channels import HOW, fit_stem
from mona_mm.checkpoint import read_checkpoint
from mona_mm.errors import CheckpointError


def on(base, tuner='Fixed', **kwargs):
    """A backbone on a base file, loaded."""
    net = micro(tuner, init_cfg=dict(type='Pretrained', checkpoint=str(base)),
                **kwargs)
    net.init_weights()
    return net.eval()


@pytest.mark.parametrize('how, channels, expected', [
    ('mean', 2, [4.5, 4.5]),  # (1 + 2 + 6) / 2
    ('mean', 4, [2.25, 2.25, 2.25, 2.25]),
    ('repeat', 4, [0.5, 2., 6., 0.5]),  # the first stands twice
    ('repeat', 7, [1 / 3, 1., 3., 1 / 3, 1., 3., 1 / 3]),
    ('zero', 5, [1., 2., 6., 0., 0.]),
    (None, 3, [1., 2., 6.]),
])
def test_kernels_are_what_the_formula_says(how, channels, expected):
    weight = torch.tensor([1., 2., 6.]).view(1, 3, 1, 1)
    assert fit_stem(weight, channels, how).flatten().tolist() == (
        pytest.approx(expected))


@pytest.mark.parametrize('how', ['mean', 'repeat'])
def test_picture_of_equal_channels_gives_what_it_gave_before(how, tmp_path):
    base = make_base(tmp_path / 'base.pth')
    grey = torch.randn(1, 1, 64, 64)
    before = on(base)(grey.expand(-1, 3, -1, -1))
    after = on(base, in_channels=5, fit_channels=how)(
        grey.expand(-1, 5, -1, -1))
    for a, b in zip(after, before):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_zeros_leave_the_first_channels_as_they_were(tmp_path, caplog):
    base = make_base(tmp_path / 'base.pth')
    image, infrared = torch.randn(1, 3, 64, 64), torch.randn(1, 1, 64, 64)
    after = on(base, in_channels=4, fit_channels='zero')(
        torch.cat([image, infrared], 1))
    for a, b in zip(after, on(base)(image)):
        torch.testing.assert_close(a, b)


def test_base_for_other_channels_is_refused_with_the_ways_out(tmp_path):
    base = make_base(tmp_path / 'base.pth')
    with pytest.raises(CheckpointError) as error:
        on(base, in_channels=4)
    told = str(error.value)
    assert str(base) in told and 'in_channels=4' in told
    assert all(f'model.backbone.fit_channels={how}' in told for how in HOW)


@pytest.mark.parametrize('how', [None, 'repeat', 'zero'])
def test_fewer_channels_can_only_be_the_mean(how, tmp_path):
    base = make_base(tmp_path / 'base.pth')
    with pytest.raises(CheckpointError, match='fit_channels=mean') as error:
        on(base, in_channels=1, fit_channels=how)
    assert 'fit_channels=zero' not in str(error.value)


def test_unknown_way_is_refused():
    with pytest.raises(ValueError, match="'mean', 'repeat', 'zero'"):
        micro(fit_channels='median')


@pytest.mark.parametrize('how', HOW)
def test_delta_on_a_fitted_base_comes_back_and_says_how(how, tmp_path):
    base = make_base(tmp_path / 'base.pth')
    kwargs = dict(in_channels=4, fit_channels=how)
    net = move(on(base, 'LoRA', **kwargs))
    path = save_delta(nn.ModuleDict(dict(backbone=net)), tmp_path / 'd.pth')
    again = nn.ModuleDict(dict(backbone=micro('LoRA', **kwargs)))
    again.load_state_dict(read_checkpoint(str(path))['state_dict'])
    for key, value in net.state_dict().items():
        assert torch.equal(again.backbone.state_dict()[key], value), key
    other = nn.ModuleDict(dict(backbone=micro('LoRA', in_channels=4)))
    with pytest.raises(CheckpointError,
                       match=f'model.backbone.fit_channels={how}'):
        other.load_state_dict(read_checkpoint(str(path))['state_dict'])


def test_whole_weights_for_other_channels_name_in_channels(tmp_path):
    net = micro('Full', in_channels=4)
    plain = SwinTransformer(arch=MICRO, pad_small_map=True)
    with pytest.raises(CheckpointError, match='check in_channels'):
        net.load_state_dict(plain.state_dict())
