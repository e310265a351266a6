"""Linear layers behind a norm or GELU keep the input alone, exactly."""
import pytest
import torch
from helpers import image
from torch import nn
from torch.nn import functional as F

from mona_mm.ops.lean_linear import gelu_linear, norm_linear

FORMS = {
    'norm': (lambda x, norm, linear: linear(norm(x)), norm_linear),
    'gelu': (lambda x, norm, linear: linear(F.gelu(x)),
             lambda x, norm, linear: gelu_linear(x, linear)),
}


def layers(dtype=torch.float32):
    norm, linear = nn.LayerNorm(6, eps=1e-3), nn.Linear(6, 5)
    for param in norm.parameters():
        nn.init.normal_(param)
    return norm.to(dtype), linear.to(dtype)


def gradients(form, x, norm, linear, autocast=False):
    x = x.clone().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        y = form(x, norm, linear)
    wanted = [x, *linear.parameters()]
    if form in FORMS['norm']:
        wanted += norm.parameters()
    grads = torch.autograd.grad(
        (y.float() * image(*y.shape, seed=3)).sum(), wanted)
    assert [g.dtype for g in grads] == [p.dtype for p in wanted]
    return [y, *grads]


@pytest.mark.parametrize('name', FORMS)
def test_equals_the_written_form_in_double(name):
    plain, lean = FORMS[name]
    norm, linear = layers(torch.double)
    x = image(2, 3, 6).double()
    for a, b in zip(gradients(lean, x, norm, linear),
                    gradients(plain, x, norm, linear)):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('name', FORMS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_autocast_takes_the_same_types(name, dtype):
    plain, lean = FORMS[name]
    norm, linear = layers()
    x = image(2, 3, 6).to(dtype)
    for a, b in zip(gradients(lean, x, norm, linear, True),
                    gradients(plain, x, norm, linear, True)):
        assert a.dtype == b.dtype
        # bfloat16 rounds to 8 bits, here after fewer or more steps.
        assert (a - b).norm() <= 2**-6 * b.norm()


@pytest.mark.parametrize('name', FORMS)
def test_keeps_its_input_and_parameters(name):
    norm, linear = layers()
    x = image(2, 3, 6).requires_grad_()
    own = {p.data_ptr() for p in (*norm.parameters(), *linear.parameters())}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
        FORMS[name][1](x, norm, linear)
    assert set(kept) - own == {x.data_ptr()}
