"""Window attention's kernels in Triton's interpreter.

``test_interpreted.py`` runs this file with TRITON_INTERPRET=1. What is right
is PyTorch's form in float64, which is checked against mmpretrain's.
"""
import pytest
import torch
from launches import observed

from mona_mm.ops import fused_attention as module
from mona_mm.ops.fused_attention import fits, fused_attention
from mona_mm.ops.window_attention import window_attention
from mona_mm.ops.windows import plan_windows, shift_masks

#: batch, (H, W), window, heads, their width, shift
CASES = [
    (2, (9, 11), 7, 2, 32, 3),  # padding and shift, as in Swin
    (3, (7, 14), 7, 1, 32, 0),  # whole windows
    (1, (1, 1), 7, 1, 16, 3),  # one token
    (1, (5, 6), 4, 3, 24, 2),  # a width that is no power of two
    (1, (3, 10), 4, 2, 8, 1),  # smaller than a window
    (1, (8, 8), 8, 1, 64, 4),
]


@pytest.fixture(autouse=True)
def _few_programs(monkeypatch):
    """So that one does several windows, as on a GPU."""
    monkeypatch.setattr(module, '_PROGRAMS', 4)


def right(qkv, empty, table, hw, window, shift, scale):
    plan = plan_windows(len(qkv), hw, window, shift, qkv.device)
    y, x = (v.flatten() for v in torch.meshgrid(
        torch.arange(window), torch.arange(window), indexing='ij'))
    offset = ((y[:, None] - y + window - 1) * (2 * window - 1) +
              x[:, None] - x + window - 1)
    bias = table[offset].permute(2, 0, 1).unsqueeze(0)
    if shift:
        masks = shift_masks(window, shift, qkv.device)[list(plan.kinds)]
        bias = bias + masks.to(bias.dtype)
    if not plan.empty.numel():
        empty = None
    return window_attention(qkv, empty, bias.contiguous(), plan, scale)


def distance(a, b):
    return ((a.double() - b).norm() / b.norm().clamp_min(1e-30)).item()


@pytest.mark.parametrize('batch, hw, window, heads, dims, shift', CASES)
def test_float32_is_the_formula(batch, hw, window, heads, dims, shift):
    """Outputs to 1e-5, gradients to 1e-4; everything trains."""
    width = 3 * heads * dims
    exact = [
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in [(batch, hw[0] * hw[1], width), (width, ),
                      ((2 * window - 1)**2, heads)]
    ]
    inputs = [t.detach().float().requires_grad_() for t in exact]
    rest = hw, window, shift, dims**-.5
    assert fits(inputs[0], heads, hw, window)
    want, got = right(*exact, *rest), fused_attention(*inputs, *rest)
    assert distance(got, want) < 1e-5
    grad = torch.randn_like(want)
    wanted = torch.autograd.grad(want, exact, grad, allow_unused=True)
    for a, b, t in zip(
            torch.autograd.grad(got, inputs, grad.float()), wanted, exact):
        if b is None:  # no padding
            assert not a.any()
        elif hw == (1, 1) and t is exact[2]:
            # One query alone; its padding's scores move by rounding alone.
            assert (a - b).abs().max() < 1e-5
        else:
            assert distance(a, b) < 1e-4


def test_float16_keeps_its_precision():
    """11 bits: errors of a few 1e-4. (The interpreter's bfloat16 is wrong.)"""
    exact = [torch.randn(*shape, dtype=torch.float64) for shape in [
        (1, 54, 192), (192, ), (169, 2), (1, 54, 64)]]
    qkv, empty, table, grad = (t.half() for t in exact)
    inputs = qkv.requires_grad_(), empty, table.float().requires_grad_()
    exact = [t.double().detach().requires_grad_() for t in inputs]
    rest = (6, 9), 7, 3, 32**-.5
    want, got = right(*exact, *rest), fused_attention(*inputs, *rest)
    assert got.dtype == torch.float16 and distance(got, want) < 1e-3
    pairs = zip(
        torch.autograd.grad(got, inputs[::2], grad),
        torch.autograd.grad(want, exact[::2], grad.double()))
    for a, b in pairs:
        assert distance(a, b) < 2e-3


@pytest.mark.parametrize('trained, launches', [(False, 2), (True, 3)])
def test_how_often_it_launches(trained, launches):
    qkv = torch.randn(1, 35, 96, requires_grad=True)
    table = torch.randn(169, 2, requires_grad=trained)
    with observed() as seen:
        out = fused_attention(qkv, None, table, (5, 7), 7, 3, .25)
        out.sum().backward()
    assert len(seen) == launches
    assert (table.grad is not None) is trained


def test_without_a_bias_the_padding_is_zero():
    qkv, table = torch.randn(1, 15, 48), torch.randn(49, 2)
    answers = [
        fused_attention(qkv, empty, table, (3, 5), 4, 2, .5)
        for empty in (None, torch.zeros(48))
    ]
    assert torch.equal(*answers)


def test_only_the_input_is_kept():
    qkv = torch.randn(2, 15, 48, requires_grad=True)
    empty, table = torch.randn(48), torch.randn(49, 2)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda t: kept.append(t) or t, lambda t: t):
        fused_attention(qkv, empty, table, (3, 5), 4, 2, .5)
    assert {t.data_ptr() for t in kept} == {
        t.data_ptr() for t in (qkv, empty, table)}


@pytest.mark.parametrize('dtype, window, dims', [
    (torch.float64, 7, 32), (torch.float32, 12, 32), (torch.float32, 7, 96)])
def test_what_does_not_fit_falls_back(dtype, window, dims):
    qkv = torch.empty(1, 4, 3 * dims, dtype=dtype)
    assert not fits(qkv, 1, (2, 2), window)
