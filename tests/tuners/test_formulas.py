"""What the layers of the further methods compute, by arithmetic."""
import math

import pytest
import torch
from torch import Tensor, nn

from mona_mm.tuners import build_tuner
from mona_mm.tuners.base import Facts

DOUBLE = torch.double


def tuner(kind, patch_size=4, **kwargs):
    """A tuner that knows a backbone."""
    made = build_tuner(dict(type=kind, **kwargs))
    made.start(Facts(depth=2, patch_size=patch_size, norms=(nn.LayerNorm, )))
    return made


def fill(module, **values):
    """Give parameters these values."""
    for name, value in values.items():
        param = module.get_parameter(name.replace('__', '.'))
        with torch.no_grad():
            param.copy_(torch.as_tensor(value).view(param.shape))


def row(*values) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def same(ours: Tensor, *expected: float) -> None:
    torch.testing.assert_close(ours.flatten(), row(*expected))


class TestConvpass:

    def layer(self, **kwargs):
        layer = tuner('Convpass', bottleneck_dims=1, **kwargs).build(
            'beside_attn', 2).double().eval()
        kernel = torch.zeros(3, 3)
        kernel[1, 1], kernel[1, 2] = 2, 1  # itself twice, its right once
        fill(layer, down_proj__weight=[1., 0.], conv__weight=kernel,
             conv__bias=[.25], up_proj__weight=[1., -1.],
             up_proj__bias=[0., 3.])
        return layer

    def test_is_a_convolution_between_quick_gelus(self):

        def q(a):
            return a / (1 + math.exp(-1.702 * a))

        layer = self.layer(scale=.5)
        x = row(.5, 9, 1, 9, 2, 9).view(1, 3, 2)
        left = q(2 * q(1) + q(2) + .25)  # a map of 1 x 2 after one token
        right = q(2 * q(2) + .25)
        token = q(2 * q(.5) + .25)  # a map of one pixel
        same(layer(x, (1, 2), tokens=1),
             .5 * token, .5 * (3 - token), .5 * left, .5 * (3 - left),
             .5 * right, .5 * (3 - right))

    def test_the_map_is_in_rows(self):
        layer = self.layer()
        x = torch.randn(1, 6, 2, dtype=DOUBLE)
        y = layer(x, (2, 3))
        x[0, 3] += 1  # the second row's first: nobody's right neighbour
        moved = (layer(x, (2, 3)) - y).abs().sum(-1)[0] > 0
        assert moved.tolist() == [False, False, False, True, False, False]

    def test_starts_as_published(self):
        layer = tuner('Convpass').build('beside_ffn', 24)
        assert not layer.up_proj.weight.any()
        assert not any(p.any() for n, p in layer.named_parameters()
                       if n.endswith('bias'))
        low = torch.randn(1, 8, 5, 5)
        assert torch.equal(layer.conv(low), low)
        limit = math.sqrt(6 / (24 + 8))
        assert .9 * limit < layer.down_proj.weight.abs().max() <= limit
        xavier = tuner('Convpass', conv_init='xavier').build('beside_ffn', 24)
        limit = math.sqrt(6 / (2 * 9 * 8))
        assert .9 * limit < xavier.conv.weight.abs().max() <= limit


class TestAdapterPlus:

    def layer(self, **kwargs):
        layer = tuner('AdapterPlus', bottleneck_dims=1, **kwargs).build(
            'after_ffn', 2).double()
        fill(layer, down_proj__weight=[1., -1.], up_proj__weight=[2., 3.],
             up_proj__bias=[0., 1.], scale=[1., .5])
        return layer

    def test_adds_a_bottleneck_scaled_by_channel(self):
        gelu = -1 * (1 + math.erf(-1 / math.sqrt(2))) / 2  # of 1 - 2
        same(self.layer().eval()(row(1, 2).view(1, 1, 2), (1, 1)),
             1 + 2 * gelu, 2 + .5 * (3 * gelu + 1))

    def test_leaves_out_images_in_training(self):
        torch.manual_seed(0)
        layer = self.layer(drop_path_rate=.5)
        x = row(1, 2).expand(200, 1, 2)
        added = (layer.train()(x, (1, 1)) - x)[:, 0, 0]
        once = (layer.eval()(x, (1, 1)) - x)[0, 0, 0].item()
        dropped = int((added == 0).sum())
        assert 70 < dropped < 130
        torch.testing.assert_close(
            added[added != 0], row(2 * once).expand(200 - dropped))

    def test_starts_as_published(self):
        layer = tuner('AdapterPlus').build('after_ffn', 512)
        assert torch.equal(layer.scale, torch.ones(512))
        for linear in (layer.down_proj, layer.up_proj):
            assert .019 < linear.weight.abs().max() <= .02
            # of a normal distribution that is cut at two sigma: .8796 sigma
            assert abs(linear.weight.std() / .008796 - 1) < .05
            assert not linear.bias.any()


class TestDoRA:

    def layer(self):
        linear = nn.Linear(2, 1).double()
        fill(linear, weight=[3., 4.], bias=[.5])
        layer = tuner('DoRA', rank=1, alpha=1, targets=('proj', )).adapt(
            'proj', linear).double()
        fill(layer, lora_A=[3., -4.], lora_B=[1.])
        return layer

    @pytest.mark.parametrize('line_by_line', [True, False])
    def test_turns_a_row_and_keeps_its_length(self, line_by_line):
        layer = self.layer()
        layer.line_by_line = line_by_line
        x = row(1, 2).view(1, 1, 2).requires_grad_()
        y = layer(x)
        # |(3, 4)| = 5; (3, 4) + (3, -4) = (6, 0), of length 6: W' = (5, 0)
        same(y, 5.5)
        y.sum().backward()
        same(x.grad, 5, 0)
        same(layer.magnitude.grad, 1)  # (6, 0) . x / 6
        # With the length held, dV = 5 / 6 x. (Else it would be (0, 5 / 3).)
        same(layer.lora_A.grad, 5 / 6, 5 / 3)
        same(layer.lora_B.grad, 5 / 6 * (1 * 3 - 2 * 4))

    def test_magnitudes_follow_what_is_loaded(self):
        layer = self.layer()
        fill(layer, weight=[6., 8.])
        tuner('DoRA').loaded(layer)
        same(layer.magnitude, 10)

    def test_touches_its_targets_alone(self):
        linear = nn.Linear(6, 18).double()
        layer = tuner('DoRA', rank=2, alpha=3).adapt('qkv', linear).double()
        nn.init.normal_(layer.lora_B)
        q, k, v = layer.adapted().chunk(3)
        _, old, third = linear.weight.chunk(3)
        assert torch.equal(k, old)
        up, down = layer.lora_B[6:], layer.lora_A[2:]
        new = third + 3 / 2 * up @ down
        for i in range(6):  # row by row
            expected = new[i] / new[i].norm() * layer.magnitude[6 + i]
            torch.testing.assert_close(v[i], expected)

    def test_fast_form_has_the_gradients_of_the_plain_one(self):
        grads = []
        for line_by_line in (True, False):
            torch.manual_seed(0)
            layer = tuner('DoRA', rank=2, targets=('q', 'k', 'fc1')).adapt(
                'qkv', nn.Linear(5, 9).requires_grad_(False)).double()
            layer.line_by_line = line_by_line
            nn.init.normal_(layer.lora_B), nn.init.normal_(layer.magnitude)
            x = torch.randn(2, 4, 5, dtype=DOUBLE, requires_grad=True)
            y = layer(x)
            (y * torch.randn_like(y)).sum().backward()
            grads.append([y, x.grad] + [p.grad for p in (
                layer.lora_A, layer.lora_B, layer.magnitude)])
        for plain, fast in zip(*grads):
            torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)


class TestSSF:

    @pytest.mark.parametrize('line_by_line', [True, False])
    def test_linear(self, line_by_line):
        linear = nn.Linear(2, 1).double().requires_grad_(False)
        fill(linear, weight=[1., 2.], bias=[.5])
        layer = tuner('SSF').adapt('fc1', linear).double()
        layer.line_by_line = line_by_line
        fill(layer, scale=[3.], shift=[-1.])
        x = row(1, 1, 0, 1).view(1, 2, 2).requires_grad_()
        y = layer(x)
        same(y, 3 * 3.5 - 1, 3 * 2.5 - 1)
        y.sum().backward()
        same(layer.scale.grad, 3.5 + 2.5)
        same(layer.shift.grad, 2)
        same(x.grad, 3, 6, 3, 6)

    @pytest.mark.parametrize('shape', [(5, 9), (9, 5)])
    @pytest.mark.parametrize('bias', [True, False])
    def test_fast_linear_has_the_gradients_of_the_plain_one(self, shape, bias):
        found = []
        for line_by_line in (True, False):
            torch.manual_seed(0)
            layer = tuner('SSF').adapt('qkv', nn.Linear(
                *shape, bias=bias).requires_grad_(False)).double()
            layer.line_by_line = line_by_line
            x = torch.randn(2, 4, shape[0], dtype=DOUBLE, requires_grad=True)
            y = layer(x)
            (y * torch.randn_like(y)).sum().backward()
            found.append((y, x.grad, layer.scale.grad, layer.shift.grad))
        for plain, fast in zip(*found):
            torch.testing.assert_close(fast, plain, rtol=1e-12, atol=1e-12)

    def test_norm(self):
        norm = nn.LayerNorm(2, eps=0).double()
        fill(norm, weight=[2., 1.], bias=[0., 1.])
        layer = tuner('SSF').wrap('norm', norm).double()
        fill(layer, scale=[3., .5], shift=[1., 0.])
        # (1, 3) is (-1, 1) normed, then (-2, 2).
        same(layer(row(1, 3).view(1, 1, 2)), -2 * 3 + 1, 2 * .5)

    def test_convolution(self):
        conv = nn.Conv2d(1, 2, 2, stride=2).double()
        fill(conv, weight=[1., 0, 0, 1, 0, 1, 0, 0], bias=[1., 0.])
        layer = tuner('SSF').wrap('patch_embed.projection', conv).double()
        fill(layer, scale=[2., -1.], shift=[0., 5.])
        x = row(1, 2, 3, 4).view(1, 1, 2, 2)
        same(layer(x), (1 + 4 + 1) * 2, 2 * -1 + 5)

    def test_starts_as_published(self):
        torch.manual_seed(0)
        layer = tuner('SSF').adapt('fc1', nn.Linear(4, 4000))
        for values, mean in ((layer.scale, 1), (layer.shift, 0)):
            assert abs(values.mean() - mean) < .001
            assert abs(values.std() - .02) < .001

    def test_what_it_does_not_know_is_named(self):
        with pytest.raises(TypeError, match='stem.bn.*BatchNorm2d'):
            tuner('SSF').wrap('stem.bn', nn.BatchNorm2d(4))


class TestVPT:

    def test_tokens_are_the_same_for_every_image_and_start_at_xavier(self):
        prompts = tuner('VPT', patch_size=16).tokens(768)
        assert prompts.prompts.shape == (10, 768)
        limit = .0625  # sqrt(6 / (3 * 256 + 768))
        assert .99 * limit < prompts.prompts.abs().max() <= limit
        batch = prompts(3)
        assert batch.shape == (3, 10, 768)
        assert all(torch.equal(image, prompts.prompts) for image in batch)


class TestRein:

    def test_refines_by_what_tokens_but_the_first_say(self):
        layer = tuner('Rein', num_tokens=2, rank=1, scale=.1).build(
            'after_ffn', 4).double()
        # T = (0, 0, 0, 0), (1, 1, 1, 1)
        fill(layer, token_A=[0., 2.], token_B=[.5] * 4,
             shared__token_proj__weight=2 * torch.eye(4),
             shared__token_proj__bias=[1.] * 4,
             shared__feature_proj__weight=-torch.eye(4),
             shared__feature_proj__bias=[.5] * 4)
        f = math.log(3) / 2
        # f T^T / sqrt(4) = (0, log 3), S = (1 / 4, 3 / 4), d = 3 / 4 (2 + 1)
        same(layer(row(f, f, f, f).view(1, 1, 4), (1, 1)),
             *[f + .1 * (-(2.25 + f) + .5)] * 4)

    def test_starts_as_published(self):
        layer = tuner('Rein', patch_size=16).build('after_ffn', 768)
        assert layer.token_A.shape == (100, 16)
        assert layer.token_B.shape == (16, 768)
        for factor in (layer.token_A, layer.token_B):
            # sqrt(6 / (3 * 256 + 768))
            assert .99 * .0625 < factor.abs().max() <= .0625
        assert layer.shared.scale.item() == pytest.approx(.001)


@pytest.mark.parametrize('config, named', [
    (dict(type='Convpass', bottleneck_dims=0), 'bottleneck_dims'),
    (dict(type='Convpass', conv_init='kaiming'), 'conv_init'),
    (dict(type='Convpass', drop_rate=1.), 'drop_rate'),
    (dict(type='AdapterPlus', bottleneck_dims=2.5), 'bottleneck_dims'),
    (dict(type='AdapterPlus', drop_path_rate=-.1), 'drop_path_rate'),
    (dict(type='DoRA', rank=0), 'rank'),
    (dict(type='DoRA', targets=('q', 'fc3')), 'targets'),
    (dict(type='DoRA', targets=()), 'targets'),
    (dict(type='VPT', num_tokens=0), 'num_tokens'),
    (dict(type='VPT', drop_rate=2), 'drop_rate'),
    (dict(type='Rein', num_tokens=1), 'num_tokens'),
    (dict(type='Rein', rank=True), 'rank'),
])
def test_bad_arguments_are_named_with_their_value(config, named):
    with pytest.raises(ValueError, match=named) as error:
        build_tuner(config)
    assert repr(config[named]) in str(error.value)
