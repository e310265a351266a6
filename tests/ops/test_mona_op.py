"""The fast Mona layer against its line-by-line specification."""
import pytest
import torch
from torch import nn

from mona_mm.tuners.mona import MonaLayer

SHAPES = [(5, 9), (1, 13), (2, 2), (7, 7), (8, 3)]
KERNELS = [(3, 5, 7), (7, ), (3, 3, 3), (1, ), (5, 3)]


def layer(kernels=(3, 5, 7), scaled_norm=True, drop=0., dims=24):
    """A layer whose every parameter matters."""
    torch.manual_seed(0)
    made = MonaLayer(dims, 8, kernels, scaled_norm, drop).double()
    for param in made.parameters():
        nn.init.normal_(param, std=.5)
    return made


def norm(dims=24):
    torch.manual_seed(3)
    made = nn.LayerNorm(dims).double().requires_grad_(False)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made


def tokens(hw, dims=24, batch=2, dtype=torch.double):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, hw[0] * hw[1], dims, generator=generator)
    return x.to(dtype).requires_grad_()


def results(made, x, hw, next_norm=None, weights=(1, 1)):
    """Outputs and all gradients."""
    torch.manual_seed(5)
    outputs = made(x, hw, next_norm=next_norm)
    if next_norm is None:
        outputs = (outputs, )
    loss = sum((o.double()**2 * torch.linspace(-1, 2, o.numel()).view_as(o) *
                w).sum() for o, w in zip(outputs, weights))
    wanted = [t for t in (x, *made.parameters()) if t.requires_grad]
    return [*outputs, *torch.autograd.grad(loss, wanted)]


def worst(a, b):
    """Largest difference, relative to the largest entry of each tensor."""
    assert len(a) == len(b)
    return max(((p - q).abs().max() / p.abs().max()).item()
               for p, q in zip(a, b))


def both(made, *args, **kwargs):
    answers = []
    for plain in (True, False):
        made.line_by_line = plain
        answers.append(results(made, *args, **kwargs))
    return answers


@pytest.mark.parametrize('with_norm', [False, True])
@pytest.mark.parametrize('scaled_norm', [False, True])
@pytest.mark.parametrize('kernels', KERNELS)
@pytest.mark.parametrize('hw', SHAPES)
def test_outputs_and_all_gradients_are_those_of_the_formula(
        hw, kernels, scaled_norm, with_norm):
    made = layer(kernels, scaled_norm)
    plain, fast = both(made, tokens(hw), hw, norm() if with_norm else None)
    assert worst(plain, fast) < 1e-12


@pytest.mark.parametrize('weights', [(1, 0), (0, 1)])
def test_either_output_alone_carries_the_gradient(weights):
    plain, fast = both(layer(), tokens((5, 6)), (5, 6), norm(), weights)
    assert worst(plain, fast) < 1e-12


@pytest.mark.parametrize('scaled_norm', [False, True])
def test_gradcheck(scaled_norm):
    made = layer((3, 5), scaled_norm, dims=6)
    after = norm(6)
    names, params = zip(*made.named_parameters())
    x = tokens((3, 4), 6, 1)

    def run(x, *values):
        return torch.func.functional_call(
            made, dict(zip(names, values)), (x, (3, 4)),
            dict(next_norm=after))

    assert torch.autograd.gradcheck(run, (x, *params))


def test_dropout_draws_the_same_mask():
    made = layer(drop=.4)
    plain, fast = both(made, tokens((6, 5)), (6, 5), norm())
    assert worst(plain, fast) < 1e-12
    made.eval()
    still = made(tokens((6, 5)), (6, 5))
    assert not torch.allclose(still, fast[0])


def test_an_input_without_gradient_is_fine():
    made, x = layer(), tokens((4, 4)).detach()
    plain, fast = both(made, x, (4, 4), norm())
    assert worst(plain, fast) < 1e-12


@pytest.mark.parametrize('dtype, bound', [(torch.float32, 2e-5),
                                          (torch.bfloat16, 5e-2)])
def test_low_precision_stays_within_its_tolerance(dtype, bound):
    """Against float64; autocast for bfloat16, as in training."""
    hw = (9, 8)
    made = layer()
    exact = results(made, tokens(hw), hw, norm())
    made.float()
    after = norm().float()
    x = tokens(hw, dtype=torch.float32)
    with torch.autocast('cpu', dtype, enabled=dtype == torch.bfloat16):
        rough = results(made, x, hw, after)
    assert all(r.dtype == torch.float32 for r in rough)
    assert worst(exact, [r.double() for r in rough]) < bound


def test_only_x_and_what_is_narrow_is_kept():
    """Bytes: x, two (T, n), a mask of bytes, four statistics, kernels."""
    hw, dims, n = (14, 14), 96, 8
    made = layer(drop=.1, dims=dims)
    x, after = tokens(hw, dims), norm(dims)
    kept = {}
    own = {t.data_ptr() for t in (*made.parameters(), *after.parameters())}

    def pack(tensor):
        if tensor.data_ptr() not in own:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        outputs = made(x, hw, next_norm=after)
    t = 2 * 14 * 14
    expected = 8 * (t * dims + 2 * t * n + 4 * t + n * 49 + n * n) + t * n
    assert sum(size for size, _ in kept.values()) == expected
    del outputs


def test_a_second_derivative_is_refused_not_wrong():
    made, x = layer(), tokens((3, 3))
    grad, = torch.autograd.grad(
        made(x, (3, 3)).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        grad.sum().backward()
