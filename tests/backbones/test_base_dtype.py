"""A base whose frozen linear layers are stored in bfloat16 alone."""
import copy

import pytest
import torch
from deltas import based, make_base, move, same_state, save_delta, with_head
from helpers import TUNERS, image, loss_of, nano

from mona_mm.checkpoint import read_checkpoint
from mona_mm.ops.frozen import MixedLinear

BF16 = 'bfloat16'


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / 'base.pth')


def outcome(net, x):
    torch.manual_seed(3)
    with torch.autocast('cpu', torch.bfloat16):
        outputs = net(x)
    trained = {n: p for n, p in net.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(
        loss_of(outputs), trained.values()) if trained else ()
    return [*outputs, *grads]


@pytest.mark.parametrize('name', TUNERS)
def test_results_under_autocast_are_the_same(name):
    """Autocast casts these weights in any case."""
    pair = [nano(name, drop_path_rate=.2, base_dtype=d) for d in (None, BF16)]
    pair[1].load_state_dict(pair[0].state_dict())
    for a, b in zip(*(outcome(net.train(), image()) for net in pair)):
        assert a.dtype == b.dtype and torch.equal(a, b)


@pytest.mark.parametrize('name', TUNERS)
def test_what_is_stored_in_fewer_bits(name):
    """Frozen parameters of linear layers of the base, and nothing else.

    (But for layers that do more with them than multiply: DoRA's.)
    """
    net = nano(name, base_dtype=BF16)
    linear = {
        id(p) for m in net.modules() if isinstance(m, MixedLinear)
        for p in m.parameters(recurse=False)
    }
    for key, param in net.named_parameters():
        short = (not param.requires_grad and id(param) in linear
                 and key not in net.delta_names)
        assert param.dtype == (torch.bfloat16 if short else torch.float32), key


def test_it_runs_outside_of_autocast_and_folded():
    """Validation does, if nobody asks for half precision there."""
    for name in TUNERS:
        net = nano(name, base_dtype=BF16).eval()
        wide = nano(name).eval()
        wide.load_state_dict(
            {k: v.float() for k, v in net.state_dict().items()})
        for fused in (False, True):
            for module in net.modules():
                if fused and hasattr(module, 'fold'):
                    module.fold()
            with torch.no_grad():
                for a, b in zip(net(image()), wide(image())):
                    assert a.dtype == torch.float32
                    assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_deltas_refer_to_the_base_as_it_was_loaded(tmp_path, base):
    """And go from one form to the other, and back."""
    wide = move(with_head(based('Mona', base)))
    short = move(with_head(based('Mona', base, base_dtype=BF16)))
    assert short.backbone.base == wide.backbone.base
    assert short.backbone.frozen.refillable() == short.backbone.frozen.names
    path = save_delta(short, tmp_path / 'delta.pth')
    stored = read_checkpoint(str(path))['state_dict']
    assert not short.backbone.frozen.names & {
        k.removeprefix('backbone.') for k in stored}
    for kwargs in ({}, dict(base_dtype=BF16)):
        fresh = with_head(based('Mona', **kwargs))
        fresh.load_state_dict(read_checkpoint(str(path))['state_dict'])
        want = wide if not kwargs else short
        own, state = fresh.state_dict(), want.state_dict()
        for key in map('backbone.{}'.format, fresh.backbone.frozen.names):
            assert torch.equal(own[key], state[key]), key
        assert fresh.backbone.base.sha256 == wide.backbone.base.sha256
        base = fresh.backbone.frozen
        assert base.refillable() == base.names
    again = copy.deepcopy(fresh)  # as an EMA hook does
    assert again.backbone.frozen.refillable() == base.names
    assert same_state(again, fresh)


def test_a_base_that_was_changed_is_not_taken_for_the_loaded_one(base):
    net = based('Mona', base, base_dtype=BF16)
    name = sorted(n for n, p in net.named_parameters()
                  if p.dtype == torch.bfloat16)[0]
    with torch.no_grad():
        net.get_parameter(name).mul_(2)
    assert net.frozen.refillable() == net.frozen.names - {name}


def test_another_dtype_is_refused():
    with pytest.raises(ValueError, match="base_dtype must be.*'int4'"):
        nano('Mona', base_dtype='int4')
