"""The Mona layer's kernels in Triton's interpreter.

``test_interpreted.py`` runs this file with TRITON_INTERPRET=1. What is right
is ``MonaLayer.formula`` in float64, as released.
"""
import copy

import pytest
import torch
import triton.language as tl
from launches import observed
from torch import nn

from mona_mm.ops.filters import combine_filters
from mona_mm.ops.launch import kernel
from mona_mm.ops.mona import MonaSpec
from mona_mm.ops.mona_fused import Shared, combine_all, mona_fused
from mona_mm.ops.tiles import drop_factor
from mona_mm.tuners import mona
from mona_mm.tuners.mona import MonaLayer

#: batch, (H, W), C, n, kernels, scaled norm, next norm, branch, dropout
CASES = [
    (1, (1, 1), 48, 32, (3, 3, 3), True, False, True, 0.),
    (1, (2, 3), 20, 8, (3, ), False, False, True, .1),
    (2, (3, 2), 40, 64, (3, 5, 7), True, True, True, .25),
    (2, (2, 2), 24, 16, (7, ), False, True, False, 0.),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in [
        (2, (5, 6), 32, 16, (3, 5, 7), True, True, True, 0.),
        (3, (3, 5), 24, 64, (7, ), False, True, False, 0.),
        (1, (9, 2), 40, 64, (3, 5, 7), True, True, True, .25),
        (2, (4, 5), 36, 12, (1, 5), True, True, True, .5),
        (1, (1, 5), 512, 16, (9, 3), True, True, True, .1)]),
]
LAUNCHES = [
    'mona_down', 'mona_up', 'mona_up_backward', 'mona_down_backward',
    'mona_products', 'mona_filters', 'mona_collect'
]


@kernel('tokens', num_warps=4)
def mask(seeds, out, tokens, rate, NP: tl.constexpr, BM: tl.constexpr):
    """The factors that the layer's kernels draw, in other tiles."""
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    k = tl.arange(0, NP)
    factor = drop_factor(tl.load(seeds + 1), row, rate, BM, NP)
    tl.store(out + row[:, None] * NP + k[None, :], factor,
             (row < tokens)[:, None])


class Given(nn.Module):
    """Dropout with factors that were drawn before."""

    def __init__(self, factors):
        super().__init__()
        self.factors = factors

    def forward(self, x):
        return x * self.factors.view_as(x)


def layer(width, n, kernels, scaled, drop):
    """A layer whose every parameter matters."""
    made = MonaLayer(width, n, kernels, scaled, drop)
    for param in made.parameters():
        nn.init.normal_(param, std=.3)
    return made


def distance(a, b):
    return ((a.double() - b).norm() / b.norm()).item()


def loss_of(outputs):
    return sum((o**2 * torch.linspace(-1, 2, o.numel()).view_as(o)).sum()
               for o in outputs if o is not None)


def inputs(batch, hw, width, branch):
    shape = batch, hw[0] * hw[1], width
    return [torch.randn(*shape).requires_grad_() for _ in range(1 + branch)]


@pytest.mark.parametrize(
    'batch, hw, width, n, kernels, scaled, next_norm, branch, drop', CASES)
def test_float32_is_the_formula(batch, hw, width, n, kernels, scaled,
                                next_norm, branch, drop):
    """Outputs to 1e-5, all gradients to 1e-4, with the kernels' own mask."""
    made, other = (layer(width, n, kernels, scaled, drop) for _ in range(2))
    given = inputs(batch, hw, width, branch)
    norm = nn.LayerNorm(width, eps=1e-4).requires_grad_(False)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    scales = torch.tensor([[0.] * batch, [1 / .7, 0, 1 / .7][:batch]])
    seeds = torch.tensor([3, 2**40 + 5])
    shared = Shared(
        made.parameters_in_order(),
        combine_all([m.parameters_in_order() for m in (other, made)]), 1,
        seeds, scales, 1)
    spec = MonaSpec(hw, drop, 1e-5, torch.float32, norm.eps)
    got = mona_fused(
        given[0], given[1] if branch else None, spec,
        shared, (norm.weight, norm.bias) if next_norm else None)

    exact = copy.deepcopy(made).double()
    exact.line_by_line = True
    if drop:
        wide, tokens = max(16, n), batch * hw[0] * hw[1]
        factors = torch.empty(tokens, wide)
        mask((-(-tokens // 4), ), (seeds, factors, tokens, drop), (wide, 4))
        exact.dropout = Given(factors[:, :n].double())
    wanted = [t.detach().double().requires_grad_() for t in given]
    x = wanted[0]
    if branch:
        x = x + wanted[1] * scales[1].double().view(-1, 1, 1)
    y = exact(x, hw)
    want = y, norm.double()(y) if next_norm else None
    grads = torch.autograd.grad(loss_of(got), [*given, *made.parameters()])
    right = torch.autograd.grad(loss_of(want), [*wanted, *exact.parameters()])
    for a, b in zip(got, want):
        if b is None:
            assert a is None
        else:
            assert distance(a, b) < 1e-5
    for a, b in zip(grads, right):
        assert distance(a, b) < 1e-4 or (a - b).abs().max() < 1e-6


@pytest.mark.parametrize('which', [0, 1])
def test_either_output_alone_carries_the_gradient(which):
    made, hw = layer(32, 16, (3, 5), True, 0.), (3, 4)
    norm = nn.LayerNorm(32).requires_grad_(False)
    x, branch = inputs(2, hw, 32, True)
    shared = Shared(
        made.parameters_in_order(), combine_all([made.parameters_in_order()]))
    spec = MonaSpec(hw, 0., 1e-5, torch.float32, norm.eps)
    got = mona_fused(x, branch, spec, shared,
                     (norm.weight, norm.bias))[which]
    exact = copy.deepcopy(made).double()
    exact.line_by_line = True
    wanted = [t.detach().double().requires_grad_() for t in (x, branch)]
    want = exact(sum(wanted), hw)
    if which:
        want = norm.double()(want)
    grads = torch.autograd.grad(
        loss_of([got]), [x, branch, *made.parameters()])
    right = torch.autograd.grad(
        loss_of([want]), [*wanted, *exact.parameters()])
    assert max(map(distance, grads, right)) < 1e-4


@pytest.mark.parametrize('kernels', [(3, 5, 7), (5, 5), (1, )])
def test_filters_of_all_layers_are_merged_by_one_launch(kernels):
    layers = [layer(16, 24, kernels, True, 0.).parameters_in_order()
              for _ in range(3)]
    with observed() as launches:
        combined = combine_all(layers)
    assert [one.kernel.fn.__name__ for one in launches] == ['combine_layers']
    for found, params in zip(combined, layers):
        want = combine_filters(params.filters[::2], params.filters[1::2],
                               params.point_weight, params.point_bias)
        size = max(kernels)
        taps, bias, point = found.split([size**2, 1, 32])
        assert not found[:, 24:].any() and not point[24:].any()
        torch.testing.assert_close(
            taps[:, :24].t().reshape(24, 1, size, size), want.kernel)
        torch.testing.assert_close(bias[0, :24], want.bias)
        torch.testing.assert_close(point[:24, :24].t(), want.point)


def test_two_launches_forward_and_five_backward():
    made = layer(32, 16, (3, 5, 7), True, .1)
    with observed() as launches:
        made(*inputs(1, (3, 4), 32, False), (3, 4)).sum().backward()
    names = [one.kernel.fn.__name__ for one in launches]
    assert names == ['combine_layers', *LAUNCHES]


def test_an_input_that_needs_no_gradient_gets_none():
    made = layer(32, 16, (3, 5, 7), True, 0.)
    x, = inputs(1, (3, 4), 32, False)
    made(x, (3, 4)).square().sum().backward()
    grads = [p.grad.clone() for p in made.parameters()]
    made.zero_grad()
    made(x.detach(), (3, 4)).square().sum().backward()
    assert all(map(torch.equal, grads, (p.grad for p in made.parameters())))


def test_dropout_keeps_its_share_and_its_expectation():
    factors, seeds = torch.empty(500, 64), torch.tensor([0, 7])
    mask((8, ), (seeds, factors, 500, .25), (64, 64))
    assert set(factors.unique().tolist()) == {0., torch.tensor(1 / .75).item()}
    # 32,000 draws: six standard deviations are .0145
    assert abs((factors == 0).float().mean() - .25) < .0145
    again = torch.empty_like(factors)
    mask((8, ), (torch.tensor([0, 8]), again, 500, .25), (64, 64))
    assert not torch.equal(factors, again)


def test_what_is_kept():
    """The stream and two tensors of the bottleneck's width, statistics."""
    made, hw = layer(32, 16, (3, 5, 7), True, .1), (3, 4)
    x, = inputs(2, hw, 32, False)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda t: kept.append(t) or t, lambda t: t):
        made(x, hw)
    own = {p.data_ptr() for p in made.parameters()}
    shapes = [tuple(t.shape) for t in kept if t.data_ptr() not in own]
    assert sorted(shapes) == sorted(
        [(2, 12, 32), (24, 16), (24, 16), (24, 2),
         (1, 49 + 1 + 16, 16), (1, )])


@pytest.mark.parametrize('change, why', [
    (dict(n=96), 'bottleneck has 96 channels'),
    (dict(kernels=(17, )), 'filter of size 17'),
    (dict(dtype=torch.float64), 'no torch.float64')])
def test_what_is_not_covered_runs_by_torch(change, why, monkeypatch):
    said = []
    monkeypatch.setattr(mona, 'say_once', said.append)
    made = layer(16, change.get('n', 8), change.get('kernels', (3, )), True,
                 0.).to(change.get('dtype', torch.float32))
    x = torch.randn(1, 6, 16, dtype=change.get('dtype', torch.float32))
    with observed() as launches:
        y = made(x, (2, 3))
    assert not launches and all(why in message for message in said) and said
    assert distance(y, made.formula(x, (2, 3)).double()) < 1e-5


@pytest.mark.parametrize('stream, width, hw', [
    (torch.float16, 48, (2, 3)),
    pytest.param(torch.float32, 512, (1, 3), marks=pytest.mark.slow)])
def test_half_precision_stays_close_to_the_formula(stream, width, hw):
    """As under autocast; 11 bits: within 1 % of the formula.

    (In bfloat16 the interpreter itself is wrong.)
    """
    made = layer(width, 16, (3, 5), True, 0.)
    norm = nn.LayerNorm(width).requires_grad_(False)
    x, branch = (t.detach().to(d).requires_grad_() for t, d in zip(
        inputs(2, hw, width, True), (stream, torch.float16)))
    shared = Shared(
        made.parameters_in_order(), combine_all([made.parameters_in_order()]))
    spec = MonaSpec(hw, 0., 1e-5, torch.float16, norm.eps)
    got = mona_fused(x, branch, spec, shared,
                     (norm.weight, norm.bias))
    assert [t.dtype for t in got] == [stream, torch.float16]
    exact = copy.deepcopy(made).double()
    exact.line_by_line = True
    wanted = [t.detach().double().requires_grad_() for t in (x, branch)]
    y = exact(sum(wanted), hw)
    want = y, norm.double()(y)
    weights = [torch.randn_like(t) for t in want]
    grads = torch.autograd.grad(
        got, [x, branch, *made.parameters()],
        [w.to(t.dtype) for w, t in zip(weights, got)])
    right = torch.autograd.grad(
        want, [*wanted, *exact.parameters()], weights)
    assert [g.dtype for g in grads[:3]] == [
        stream, torch.float16, torch.float32]
    assert max(map(distance, got, want)) < 1e-2
    assert max(map(distance, grads, right)) < 1e-2
