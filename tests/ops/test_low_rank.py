"""The fast LoRA layer against its formula."""
import pytest
import torch
from torch import nn

from mona_mm.tuners.lora import LoRALinear


def layer(targets, bias=True):
    torch.manual_seed(0)
    base = nn.Linear(12, 36, bias=bias).requires_grad_(False)
    made = LoRALinear(base, 4, 3., targets).double()
    nn.init.normal_(made.lora_B)
    return made


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('targets', [('q', 'v'), ('k', ), ('v', 'q', 'k')])
def test_outputs_and_gradients_are_those_of_the_formula(targets, bias):
    made = layer(targets, bias)
    x = torch.randn(2, 7, 12, dtype=torch.double, requires_grad=True)
    answers = []
    for plain in (True, False):
        made.line_by_line = plain
        out = made(x)
        grads = torch.autograd.grad(
            (out**3).sum(), [x, made.lora_A, made.lora_B])
        answers.append([out, *grads])
    for a, b in zip(*answers):
        assert (a - b).abs().max() <= 1e-12 * a.abs().max()


def test_gradcheck():
    made = layer(('q', 'v'))
    names = ('lora_A', 'lora_B')
    x = torch.randn(1, 3, 12, dtype=torch.double, requires_grad=True)

    def run(x, *values):
        return torch.func.functional_call(made, dict(zip(names, values)),
                                          (x, ))

    assert torch.autograd.gradcheck(run, (x, made.lora_A, made.lora_B))


def test_a_base_that_trains_gets_its_gradient():
    made = layer(('q', 'v'))
    made.weight.requires_grad_()
    made(torch.randn(1, 3, 12, dtype=torch.double)).sum().backward()
    assert made.weight.grad.abs().sum() > 0


def test_the_input_alone_is_kept():
    made = layer(('q', 'v'))
    x = torch.randn(2, 7, 12, dtype=torch.double, requires_grad=True)
    kept = []

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        made(x)
    own = {id(p) for p in made.parameters()}
    assert [t.shape for t in kept if id(t) not in own] == [x.shape]


@pytest.mark.parametrize('enabled', [True, False])
def test_autocast_decides_the_dtype_of_the_output(enabled):
    made = layer(('q', 'v')).float()
    x = torch.randn(2, 7, 12, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
        out = made(x)
    assert out.dtype == (torch.bfloat16 if enabled else torch.float32)
    out.float().sum().backward()
    assert x.grad.dtype == made.lora_A.grad.dtype == torch.float32
