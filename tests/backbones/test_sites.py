"""All that a tuner may ask of Swin, against the block's picture."""
import pytest
import torch
from helpers import NANO, image, loss_of, nano, plain_nano, save_plain_base
from mmpretrain.models import SwinTransformer
from torch import nn

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.tuners import LINEARS, SITES, Tuner

MODULES = [s for s in SITES if s not in LINEARS]


class Curve(nn.Module):
    """Of all sites another function of its input."""

    def __init__(self, dims, **says):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dims))
        for name, value in says.items():
            setattr(self, name, value)

    def forward(self, x, hw_shape, **kwargs):
        assert x.shape[1] == hw_shape[0] * hw_shape[1]
        return torch.tanh(x) * self.weight


class Shifted(nn.Linear):
    """A linear layer that does not map zeros to its bias."""

    def __init__(self, linear):
        super().__init__(linear.in_features, linear.out_features,
                         device='meta')
        self.weight, self.bias = linear.weight, linear.bias
        self.shift = nn.Parameter(torch.randn(linear.out_features))

    def forward(self, x):
        return super().forward(x) + self.shift


class Everywhere(Tuner):
    """Something at all twelve sites, or at some."""

    def __init__(self, sites=SITES, **says):
        self.sites, self.says = tuple(sites), says

    def build(self, site, dims):
        return Curve(dims, **self.says)

    def adapt(self, site, linear):
        return Shifted(linear)


def follow(net, x, normed=False):
    """The picture of the block, by the library's parts, in evaluation."""
    x, hw = net.patch_embed(x)
    outs = []
    for i, stage in enumerate(net.stages):
        for b in stage.blocks:
            b.line_by_line = True
            n = b.norm1(x)
            beside = b.beside_attn(n if normed else x, hw)
            t = b.attn(b.attn_in(n, hw), hw)
            h = b.after_attn(x + b.attn_out(t, hw) + beside, hw)
            n = b.norm2(h)
            beside = b.beside_ffn(n if normed else h, hw)
            t = b.ffn.layers(b.ffn_in(n, hw))
            x = b.after_ffn(h + b.ffn_out(t, hw) + beside, hw)
        out = getattr(net, f'norm{i}')(x)
        outs.append(out.view(-1, *hw, out.shape[-1]).permute(0, 3, 1, 2))
        if stage.downsample is not None:
            x, hw = stage.downsample(x, hw)
    return outs


@pytest.mark.parametrize('says', [
    {}, dict(takes_normed=True), dict(takes_normed=True, in_drop_path=True),
    dict(takes_tokens=True)])
def test_twelve_sites_are_where_the_picture_has_them(says):
    torch.manual_seed(0)
    net = nano(Everywhere(**says)).double().eval()
    x = image(1, 3, 60, 84).double()  # windows reach beyond the map
    outs = net(x)
    loss_of(outs).backward()
    grads = {n: p.grad for n, p in net.delta_parameters().items()}
    net.zero_grad()
    expected = follow(net, x, says.get('takes_normed', False))
    loss_of(expected).backward()
    for a, b in zip(outs, expected):
        torch.testing.assert_close(a, b)
    for name, param in net.delta_parameters().items():
        torch.testing.assert_close(grads[name], param.grad, msg=name)


@pytest.mark.parametrize('site', SITES)
def test_pretrained_weights_fit_whatever_stands_at_a_site(site):
    net = nano(Everywhere([site]))
    keys = net.load_state_dict(plain_nano().state_dict(), strict=False)
    assert set(keys.missing_keys) == net.delta_names
    assert not keys.unexpected_keys
    assert len(net.delta_names) == 8  # one per block


@pytest.mark.parametrize('inside', [True, False])
@pytest.mark.parametrize('skip', [True, False])
@pytest.mark.parametrize('part', ['attn', 'ffn'])
def test_what_drop_path_drops(part, inside, skip):
    """What is beside a branch goes with it only if it says so."""
    torch.manual_seed(0)
    net = nano(Everywhere([f'beside_{part}'], in_drop_path=inside,
                          takes_normed=True), skip_dropped=skip)
    block = net.stages[0].blocks[0].train()
    for path in ('drop_path1', 'drop_path2'):
        path = getattr(block, path)
        path.drop_prob = 1 - 1e-7  # as good as always
    block.drop_path1, block.drop_path2 = (
        net.stages[3].blocks[1].drop_path1, net.stages[3].blocks[1].drop_path2)
    block.drop_path1.drop_prob = block.drop_path2.drop_prob = 1 - 1e-7
    x = torch.randn(2, 12, 16)
    y = block(x, (3, 4))
    norm = block.norm1 if part == 'attn' else block.norm2
    added = torch.tanh(norm(x)) * getattr(block, f'beside_{part}').weight
    torch.testing.assert_close(y, x if inside else x + added)


@pytest.mark.parametrize('place', ['tokens', 'nowhere'])
def test_what_is_not_offered_is_refused_with_both_lists(place):
    with pytest.raises(ValueError) as error:
        nano(Everywhere([place, 'ffn_in']))
    message = str(error.value)
    assert f"['{place}', 'ffn_in']" in message
    assert all(s in message for s in (*SITES, 'side'))


def test_a_tuner_that_does_nothing_is_refused():
    with pytest.raises(ValueError, match='Tuner inserts nothing into Tuned'):
        nano(Tuner())

    class Meant(Tuner):
        may_do_nothing = True

    assert nano(Meant()).share().trained == 0


class Wrapped(nn.Module):
    """Stands for a module under its keys, and shifts what it gives."""

    def __init__(self, module):
        super().__init__()
        self.weight, self.bias = module.weight, module.bias
        self.shift = nn.Parameter(torch.zeros(len(module.weight)))


class Scaled(Tuner):
    """Notes what it is asked about."""
    sites = ('fc1', )

    def __init__(self):
        self.asked, self.told = [], []

    def adapt(self, site, linear):
        return Shifted(linear)

    def wrap(self, name, module):
        self.asked.append(name)
        return Shifted(module) if name.endswith('reduction') else module

    def loaded(self, module):
        self.told.append(module)


def test_what_is_outside_of_the_sites_may_be_wrapped():
    tuner = Scaled()
    net = TunedSwinTransformer(
        arch=dict(embed_dims=16, depths=[1, 1], num_heads=[1, 2]),
        out_indices=(0, 1), tuner=tuner)
    plain = SwinTransformer(
        arch=dict(embed_dims=16, depths=[1, 1], num_heads=[1, 2]),
        out_indices=(0, 1))
    four = ('qkv', 'proj', 'ffn.layers.0.0', 'ffn.layers.1')
    assert set(tuner.asked) == {
        n for n, m in plain.named_modules()
        if isinstance(m, (nn.Linear, nn.Conv2d, nn.LayerNorm))
        and not n.endswith(four)}
    assert net.delta_names == {
        'stages.0.blocks.0.ffn.layers.0.0.shift',
        'stages.1.blocks.0.ffn.layers.0.0.shift',
        'stages.0.downsample.reduction.shift'}


def test_what_was_made_hears_that_the_base_is_there(tmp_path):
    base = save_plain_base(tmp_path / 'base.pth')
    made = {f'stages.{i}.blocks.{b}.ffn.layers.0.0'
            for i in range(4) for b in range(2)}
    made |= {f'stages.{i}.downsample.reduction' for i in range(3)}

    class Weights(Scaled):

        def loaded(self, module):
            self.told.append((module, module.weight.detach().clone()))

    tuner = Weights()
    net = TunedSwinTransformer(
        arch=NANO, tuner=tuner, init_cfg=dict(
            type='Pretrained', checkpoint=str(tmp_path / 'base.pth')))
    assert not tuner.told
    net.init_weights()
    names = {m: n for n, m in net.named_modules()}
    assert {names[m] for m, _ in tuner.told} == made
    for module, weight in tuner.told:
        assert torch.equal(weight, net.state_dict()[names[module] + '.weight'])
    tuner.told.clear()
    net.load_state_dict(net.state_dict())  # it brings what was inserted
    assert not tuner.told
    net.load_state_dict(base, strict=False)  # it does not
    assert {names[m] for m, _ in tuner.told} == made
    tuner = Weights()
    net = nano(tuner)
    net.init_weights()  # a random base is one, too
    assert len(tuner.told) == len(made)


class Side(nn.Module):
    """Maps of some blocks, and of the images."""

    def __init__(self, wants):
        super().__init__()
        self.wants = wants
        self.conv = nn.Conv2d(3, 4, 4, 4)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images, outputs):
        maps = [o.x.transpose(1, 2).unflatten(2, o.hw_shape) for o in outputs]
        assert all(o.tokens is None for o in outputs)
        return self.norm(self.conv(images)), *maps


class Beside(Tuner):
    sites = ('side', )

    def __init__(self, wants=None):
        self.wants = wants

    def side(self, backbone):
        return Side(self.wants)


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('wants', [None, {1, 6}])
def test_a_side_network_gives_the_maps(wants, with_cp):
    net = nano(Beside(wants), with_cp=with_cp)
    net.stages[0].blocks[1].norm1.weight.requires_grad_()
    seen = []
    for stage in net.stages:
        for block in stage.blocks:
            block.register_forward_hook(
                lambda module, args, out: seen.append(
                    out[0] if isinstance(out, tuple) else out))
    maps = net(image())
    kept = [s for i, s in enumerate(seen) if wants is None or i in wants]
    assert maps[0].shape == (2, 4, 16, 16) and len(maps) == 1 + len(kept)
    for got, own in zip(maps[1:], kept):
        assert torch.equal(got.flatten(2).transpose(1, 2), own)
    loss_of(maps).backward()
    assert net.side.conv.weight.grad.any()
    assert net.stages[0].blocks[1].norm1.weight.grad.any()
    assert net.delta_names == {
        f'side.{k}' for k in net.side.state_dict()}
    assert not any(b.outputs for s in net.stages for b in s.blocks)
