"""Mona's kernels inside Swin's blocks, in Triton's interpreter.

``test_interpreted.py`` runs this file with TRITON_INTERPRET=1. A stage of two
blocks: the first hands its norm to the second, the second has none to make.
"""
import copy
from collections import Counter

import pytest
import torch
from helpers import image
from launches import observed
from torch import nn
from torch.utils.checkpoint import checkpoint

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.backbones.step import Step
from mona_mm.engine.resumable.rng import get_rng_state, set_rng_state

HW, NAMES = (2, 3), [
    'mona_down', 'mona_up', 'mona_up_backward', 'mona_down_backward',
    'mona_products', 'mona_filters', 'mona_collect'
]


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = TunedSwinTransformer(
        arch=dict(embed_dims=16, depths=[2, 1, 1, 1], num_heads=[1, 2, 2, 4]),
        tuner=dict(type='Mona', bottleneck_dims=8, kernel_sizes=(3, 1)),
        drop_path_rate=.8, allow_random_base=True)
    for param in made.parameters():
        if param.ndim < 2 or param.shape[0] == 0 or not param.any():
            nn.init.normal_(param, std=.3)
    return made.train()


@pytest.fixture
def stage(net):
    made = net.stages[0]
    made.downsample = None
    return made


def tokens(batch=3):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, 6, 16, generator=generator)


def outcome(stage, x, seed=1):
    stage.zero_grad()
    torch.manual_seed(seed)
    y, _ = stage(x, HW)
    (y**3).sum().backward()
    return [y, *(p.grad for p in stage.parameters() if p.requires_grad)]


def distance(got, want):
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(got, want))


class Given(nn.Module):
    """Drop-path with factors that were drawn before."""

    def __init__(self, factors):
        super().__init__()
        self.factors = factors.view(-1, 1, 1).double()

    def forward(self, out):
        return out * self.factors


def test_drop_path_is_the_formula_with_the_same_draw(net, stage):
    """Float32 by kernels against float64 line by line."""
    for module in stage.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.
    stage.blocks[1].drop_path2.drop_prob = .5
    stage.step = Step(stage.blocks)
    y, *grads = outcome(stage, tokens())
    factors = stage.step._scales
    assert {0., 2.} == set(factors[3].tolist())
    net.line_by_line = True
    for i, block in enumerate(stage.double().blocks):
        block.drop_path1, block.drop_path2 = map(
            Given, factors[2 * i:2 * i + 2])
    right, *right_grads = outcome(stage, tokens().double())
    assert distance([y], [right]) < 1e-5
    assert distance(grads, right_grads) < 1e-4


def test_drop_path_keeps_its_share(net):
    blocks = [block for s in net.stages for block in s.blocks]
    step, x = Step(blocks), torch.zeros(4000, 1, 16)
    step.of(blocks[0], x)
    # .8 at the last of five blocks, 0 at the first, linear in between
    rates = torch.linspace(0, .8, 5).repeat_interleave(2)
    for factors, rate in zip(step._scales, rates):
        assert set(factors.unique().tolist()) <= {0., (1 / (1 - rate)).item()}
        # five standard deviations of the mean of 4,000
        bound = 5 * (rate / (1 - rate) / 4000)**.5
        assert abs(factors.mean() - 1) <= bound


def test_seeds_come_from_torchs_generator(stage):
    """So what is resumed draws what it would have drawn."""
    x = tokens(1)
    with torch.no_grad():
        first, _ = stage(x, HW)
        state = get_rng_state()
        second, _ = stage(x, HW)
        set_rng_state(state)
        again, _ = stage(x, HW)
    assert torch.equal(second, again) and not torch.equal(first, second)


@pytest.mark.parametrize('whole', [
    False, pytest.param(True, marks=pytest.mark.slow)])
def test_recomputing_draws_the_same(net, stage, whole):
    """Block by block (with_cp), and the whole stage from outside."""
    x = tokens(1).requires_grad_()
    want = outcome(stage, x)
    if whole:  # inside the backbone: the stage's step was made by it
        stage.step, run = Step(stage.blocks), stage.forward

        def forward(*args):
            try:
                return checkpoint(run, *args, use_reentrant=False)
            finally:
                stage.step.open = False

        stage.forward = forward
    else:
        for block in stage.blocks:
            block.with_cp = True
    assert distance(outcome(stage, x), want) < 1e-4


def test_a_closed_step_is_not_used_again(net, stage):
    """Its combined filters are those of weights that have moved on."""
    stage.eval()
    stage.step = Step(stage.blocks)
    before, _ = stage(tokens(1), HW)
    stage.step.open = False
    with torch.no_grad():
        for param in net.delta_parameters().values():
            param.mul_(2)
    after, _ = stage(tokens(1), HW)
    net.line_by_line = True
    right, _ = stage(tokens(1), HW)
    assert distance([after], [right]) < 1e-5 < distance([before], [right])


def test_the_backbone_closes_its_step(net):
    with torch.no_grad():
        net.eval()(image(1, 3, 8, 8))
    steps = {id(stage.step) for stage in net.stages}
    assert len(steps) == 1 and not net.stages[0].step.open


def test_a_copy_does_not_use_the_step_of_its_original(stage):
    stage.eval().step = Step(stage.blocks)
    want, _ = stage(tokens(1), HW)
    got, _ = copy.deepcopy(stage)(tokens(1), HW)
    assert torch.equal(got, want)


def test_a_block_in_a_wrapper_draws_for_itself(stage):
    step = Step([nn.Identity()])
    share = step.of(stage.blocks[1], tokens())
    assert all(shared.filters.shape[0] == 2 for shared in share.joined)


def test_launches_of_a_stage(stage):
    """Four Mona layers, two attentions and one combination."""
    with observed() as launches:
        outcome(stage, tokens(1))
    counts = Counter(launch.kernel.fn.__name__ for launch in launches)
    # The stage's input needs no gradient, so its attention has none either.
    assert counts == {
        'combine_layers': 1, 'attend': 2, 'attend_backward': 1,
        **dict.fromkeys(NAMES, 4)}


def test_what_does_not_join(stage):
    """A hook that must see x + branch, and skip_dropped=True."""
    block, x = stage.blocks[0], tokens(1)
    block.after_ffn.register_forward_pre_hook(lambda module, args: None)
    one, two = block.joining(x)
    assert one.up_weight is block.after_attn.project2.weight and two is None
    block.skip_dropped = True
    assert block.joining(x) == (None, None)
