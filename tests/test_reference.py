"""Agreement with the released definitions, run on fixed weights."""
import numpy as np
import pytest
import torch
from helpers import nano

from mona_mm.checkpoint import base_state

METHODS = {
    'full': 'Full',
    'mona': 'Mona',
    'adapter': 'Adapter',
    'adaptformer': 'AdaptFormer',
    'lora': 'LoRA',
}


@pytest.fixture(scope='module', params=METHODS)
def released(request, reference):
    net = nano(METHODS[request.param], allow_random_base=False)
    net.load_base(str(reference / f'swin-nano_{request.param}.pth'))
    golden = np.load(reference / f'swin-nano_{request.param}.npz')
    return net.eval(), {k: golden[k] for k in golden.files}


def tensor(array):
    return torch.from_numpy(array).float()


def test_outputs_agree_to_1e_5(released):
    net, golden = released
    for i, out in enumerate(net(tensor(golden['x']))):
        expected = tensor(golden[f'out{i}'])
        assert (out - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_gradient_norms_agree_to_1e_4(released):
    net, golden = released
    net.zero_grad()
    outs = net(tensor(golden['x']))
    sum((o * tensor(golden[f'cotangent{i}'])).sum()
        for i, o in enumerate(outs)).backward()
    named = {k: torch.zeros(4) for k in golden['grad_names']}
    ours = base_state(named, renames=net.tuner.released_names).tensors
    grads = {k: p.grad for k, p in net.named_parameters() if p.requires_grad}
    assert set(ours) == set(grads)
    for key, expected in zip(ours, golden['grad_norms']):
        assert grads[key].norm().item() == pytest.approx(
            float(expected), rel=1e-4), key
