"""Folding for inference: the same answers, and every bit back."""
import pytest
import torch
from helpers import TUNERS, image, nano
from torch import nn

import mona_mm
from mona_mm.ops.fold import foldable
from mona_mm.tuners.lora import LoRALinear
from mona_mm.tuners.mona import MonaLayer


def lively(name):
    torch.manual_seed(0)
    net = nano(name).double()
    for param in net.delta_parameters().values():
        nn.init.normal_(param, std=.2)
    return net.eval()


@pytest.mark.parametrize('name', TUNERS)
def test_folded_answers_are_the_same_and_unfolding_restores_every_bit(name):
    net, x = lively(name), image(2, 3, 70, 60).double()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        before = net(x)
        folded = mona_mm.fuse(net)(x)
        after = mona_mm.unfuse(net)(x)
    for a, b, c in zip(before, folded, after):
        assert (a - b).abs().max() <= 1e-12 * a.abs().max()
        assert torch.equal(a, c)
    assert list(state) == list(net.state_dict())
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize('name, cls', [('Mona', MonaLayer),
                                       ('LoRA', LoRALinear)])
class TestWhatFolds:

    def test_all_its_modules_fold(self, name, cls):
        net = mona_mm.fuse(lively(name))
        layers = [m for m in net.modules() if isinstance(m, cls)]
        assert layers and all(m.folded is not None for m in layers)

    def test_training_unfolds(self, name, cls):
        net = mona_mm.fuse(lively(name))
        net.train()
        assert all(m.folded is None for m in foldable(net))

    def test_loading_unfolds(self, name, cls):
        net, x = mona_mm.fuse(lively(name)), image().double()
        other = lively(name)
        for param in other.delta_parameters().values():
            nn.init.normal_(param, std=.1)
        net.load_state_dict(other.state_dict())
        with torch.no_grad():
            assert all(torch.equal(a, b) for a, b in zip(net(x), other(x)))

    def test_a_folded_model_moves(self, name, cls):
        net = mona_mm.fuse(lively(name)).float()
        with torch.no_grad():
            assert net(image())[0].dtype == torch.float32

    def test_a_model_in_training_is_refused(self, name, cls):
        net = lively(name)
        net.train()
        with pytest.raises(RuntimeError, match='eval'):
            mona_mm.fuse(net)


def test_a_folded_layer_takes_any_layout():
    torch.manual_seed(0)
    layer = MonaLayer(12, 4, (3, 5), True, 0.).double().eval()
    for param in layer.parameters():
        nn.init.normal_(param)
    x = torch.randn(2, 12, 20, dtype=torch.double).transpose(1, 2)
    with torch.no_grad():
        before = layer(x, (4, 5))
        layer.fold()
        after = layer(x, (4, 5))
    assert (before - after).abs().max() <= 1e-12 * before.abs().max()
