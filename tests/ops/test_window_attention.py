"""Fast window attention against mmpretrain's ShiftWindowMSA."""
import pytest
import torch
from mmpretrain.models.utils import ShiftWindowMSA
from torch import nn

from mona_mm.backbones.swin.attention_bias import AttentionBias
from mona_mm.ops.window_attention import _by_kernels, window_attention
from mona_mm.ops.windows import PLANS, cut, paste, plan_windows, shift_masks

HEADS, DIMS, WINDOW = 2, 8, 4
SHAPES = [(8, 8), (4, 4), (3, 2), (9, 5), (4, 13), (12, 8)]


def attention(shift):
    torch.manual_seed(0)
    made = ShiftWindowMSA(
        DIMS, HEADS, WINDOW, shift, pad_small_map=True).double()
    for param in made.parameters():
        nn.init.normal_(param, std=.5)
    made.w_msa.proj = nn.Identity()  # the function ends before it
    return made


def tokens(hw, batch=2):
    generator = torch.Generator().manual_seed(1)
    shape = (batch, hw[0] * hw[1], DIMS)
    x = torch.randn(*shape, generator=generator, dtype=torch.double)
    return x.requires_grad_()


def fast(made, x, hw, function):
    w_msa = made.w_msa
    plan = plan_windows(len(x), hw, WINDOW, made.shift_size, x.device)
    empty = w_msa.qkv(x.new_zeros(1, DIMS))[0]
    bias = AttentionBias()(w_msa, made.shift_size, plan.kinds, x.dtype)
    return function(w_msa.qkv(x), empty, bias, plan, w_msa.scale)


@pytest.mark.parametrize('function', [window_attention, _by_kernels])
@pytest.mark.parametrize('shift', [0, 2, 1])
@pytest.mark.parametrize('hw', SHAPES)
def test_outputs_and_gradients_are_the_librarys(hw, shift, function):
    """The table and the qkv bias, which padding reaches, included."""
    made, x = attention(shift), tokens(hw)
    wanted = [
        x, made.w_msa.qkv.weight, made.w_msa.qkv.bias,
        made.w_msa.relative_position_bias_table
    ]
    answers = []
    for run in (made, lambda x, hw: fast(made, x, hw, function)):
        out = run(x, hw)
        loss = (out**3 * torch.linspace(-1, 1, out.numel()).view_as(out)).sum()
        answers.append([out, *torch.autograd.grad(loss, wanted)])
    for a, b in zip(*answers):
        assert (a - b).abs().max() <= 1e-12 * a.abs().max()


def test_gradcheck():
    hw = (5, 6)
    plan = plan_windows(1, hw, 4, 2, torch.device('cpu'))
    qkv = torch.randn(1, 30, 12, dtype=torch.double, requires_grad=True)
    empty = torch.randn(12, dtype=torch.double, requires_grad=True)
    bias = torch.randn(
        len(plan.kinds), 2, 16, 16, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *args: window_attention(*args, plan, .7), (qkv, empty, bias))


@pytest.mark.parametrize('shift', [0, 2])
@pytest.mark.parametrize('hw', SHAPES)
def test_what_is_cut_is_pasted_back(hw, shift):
    plan = plan_windows(3, hw, WINDOW, shift, torch.device('cpu'))
    x = torch.randn(3 * hw[0] * hw[1], 5)
    assert torch.equal(paste(cut(x, plan), plan), x)
    rows, cols = (-(-s // WINDOW) for s in hw)
    assert sum(plan.counts) == 3 * rows * cols
    assert len(plan.empty) == 3 * (rows * cols * WINDOW**2 - hw[0] * hw[1])


@pytest.mark.parametrize('hw', [(8, 12), (4, 4), (4, 16)])
def test_four_masks_are_all_the_masks_of_a_map(hw):
    """ShiftWindowMSA's mask of every window is one of the four."""
    whole = ShiftWindowMSA.get_attn_mask(hw, WINDOW, 2)
    rows, cols = hw[0] // WINDOW, hw[1] // WINDOW
    four = shift_masks(WINDOW, 2, torch.device('cpu')).squeeze(1)
    for r in range(rows):
        for c in range(cols):
            kind = 2 * (r == rows - 1) + (c == cols - 1)
            assert torch.equal(whole[r * cols + c], four[kind])


def test_nothing_but_qkv_is_kept():
    """(B, N, 3C) alone; padding and attention weights are not kept."""
    hw = (9, 5)
    made, x = attention(2), tokens(hw)
    made.requires_grad_(False)
    plan = plan_windows(2, hw, WINDOW, 2, x.device)
    bias = AttentionBias()(made.w_msa, 2, plan.kinds, x.dtype)
    kept = []

    def pack(tensor):
        kept.append(tensor.shape)
        return tensor

    qkv, empty = made.w_msa.qkv(x), made.w_msa.qkv.bias
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        window_attention(qkv, empty, bias, plan, 1.)
    assert kept == [qkv.shape, empty.shape, bias.shape]


def test_plans_stay_within_their_bound():
    """Multi-scale training meets hundreds of shapes."""
    PLANS.clear()
    for side in range(20, 420, 2):
        plan_windows(2, (side, side + 3), 7, 3, torch.device('cpu'))
    assert 0 < PLANS.nbytes <= PLANS.max_bytes
