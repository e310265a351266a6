"""Frozen weights are cast once, and never stale."""
import copy

import pytest
import torch
from helpers import image, nano
from torch import nn

from mona_mm.ops import frozen
from mona_mm.ops.frozen import CastOnce

BF16 = torch.bfloat16


@pytest.fixture
def on_a_gpu(monkeypatch):
    """Take the forms that save kernels on a CPU, too."""
    monkeypatch.setattr(frozen, 'accelerated', lambda x: True)


def layer():
    torch.manual_seed(0)
    return nn.Linear(6, 4).requires_grad_(False)


def test_a_copy_is_made_once_and_follows_its_parameter():
    casts, weight = CastOnce(), layer().weight
    first = casts(weight, BF16)
    assert casts(weight, BF16) is first
    assert torch.equal(first, weight.to(BF16))
    with torch.no_grad():
        weight.add_(1)
    assert torch.equal(casts(weight, BF16), weight.to(BF16))
    weight.data = weight.data * 2
    assert torch.equal(casts(weight, BF16), weight.to(BF16))
    assert casts.nbytes == 2 * weight.numel()


def test_a_parameter_that_trains_is_handed_back():
    casts, weight = CastOnce(), layer().weight
    casts(weight, BF16)
    assert casts(weight.requires_grad_(), BF16) is weight
    assert casts.nbytes == 0


def test_nothing_is_cast_without_need():
    casts, weight = CastOnce(), layer().weight
    assert casts(weight, torch.float32) is weight and casts.nbytes == 0
    assert casts(None, BF16) is None


@pytest.mark.parametrize('trained', [(), ('bias', ), ('weight', 'bias')])
def test_a_layer_under_autocast_is_the_librarys(on_a_gpu, trained):
    made, casts = layer(), CastOnce()
    for name in trained:
        getattr(made, name).requires_grad_()
    x = torch.randn(3, 6, requires_grad=True)
    wanted = [x, *(getattr(made, name) for name in trained)]
    with torch.autocast('cpu', BF16):
        answers = [made(x), casts.linear(made, x)]
    assert answers[1].dtype == BF16 and torch.equal(*answers)
    for a, b in zip(*(torch.autograd.grad(y.float().sum(), wanted)
                      for y in answers)):
        assert torch.equal(a, b)


def test_hooks_see_every_call(on_a_gpu):
    made, casts, seen = nn.Sequential(layer(), nn.GELU()), CastOnce(), []
    for module in (made, *made):
        module.register_forward_hook(lambda m, x, y: seen.append(type(m)))
    casts.layers(made, torch.randn(2, 6))
    assert seen == [nn.Linear, nn.GELU, nn.Sequential]


class TestBackbone:
    """A copy is forgotten where weights may have changed unseen."""

    def warm(self, tuner='LoRA'):
        net = nano(tuner).eval()
        self.run(net)
        assert self.kept(net) > 0
        return net

    def run(self, net):
        with torch.no_grad(), torch.autocast('cpu', BF16):
            return net(image())

    def kept(self, net):
        return sum(m.casts.nbytes for m in net.modules()
                   if hasattr(m, 'casts'))

    def test_all_frozen_linear_layers_of_the_blocks_have_one(self, on_a_gpu):
        net = self.warm('Mona')
        blocks = [b for s in net.stages for b in s.blocks]
        assert self.kept(net) == 2 * sum(
            p.numel() for b in blocks for part in (b.attn, b.ffn)
            for m in part.modules() if isinstance(m, nn.Linear)
            for p in m.parameters())

    @pytest.mark.parametrize('change', [
        lambda net: net.load_state_dict(net.state_dict()),
        lambda net: net.to(torch.float64),
        lambda net: net.eval(),
        lambda net: net.train(),
    ], ids=['load', 'move', 'eval', 'train'])
    def test_it_is_forgotten(self, on_a_gpu, change):
        net = self.warm()
        change(net)
        assert self.kept(net) == 0

    def test_it_is_not_copied_with_the_model(self, on_a_gpu):
        assert self.kept(copy.deepcopy(self.warm())) == 0

    def test_a_swap_of_data_before_a_change_of_mode_is_seen(self, on_a_gpu):
        """As an EMA hook does before validation."""
        net = self.warm()
        for param in net.parameters():
            param.data.copy_(param.data * .5)
        after, fresh = self.run(net.eval()), copy.deepcopy(net)
        assert all(map(torch.equal, after, self.run(fresh)))

    def test_nothing_is_kept_on_a_cpu(self):
        net = nano('LoRA').eval()
        self.run(net)
        assert self.kept(net) == 0
