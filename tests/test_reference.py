"""Agreement with the released definitions, run on fixed weights."""
import runpy

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
def method(request):
    return request.param


@pytest.fixture(scope='module')
def converted(root, reference, method, tmp_path_factory):
    """The release's weights, brought under our names by the tool."""
    main = runpy.run_path(str(root / 'tools/convert_checkpoint.py'))['main']
    out = tmp_path_factory.mktemp('converted') / f'{method}.pth'
    main([str(reference / f'swin-nano_{method}.pth'), str(out)])
    return torch.load(out, weights_only=True)['state_dict']


@pytest.fixture(scope='module')
def released(reference, method, converted):
    net = nano(METHODS[method], allow_random_base=False)
    net.load_state_dict(converted, strict=False)
    golden = np.load(reference / f'swin-nano_{method}.npz')
    return net.eval(), {k: golden[k] for k in golden.files}


def tensor(array):
    return torch.from_numpy(array).float()


def test_converted_file_holds_all_but_computed_buffers(released, converted):
    net, _ = released
    computed = {k for k in net.state_dict()
                if k.endswith('relative_position_index')}
    assert set(converted) == set(net.state_dict()) - computed


def test_file_of_the_release_loads_as_a_base_too(
        released, reference, method):
    net = nano(METHODS[method], allow_random_base=False)
    net.load_base(str(reference / f'swin-nano_{method}.pth'))
    expected = released[0].state_dict()
    assert all(
        torch.equal(v, expected[k]) for k, v in net.state_dict().items())


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
    ours = base_state(named, renames=net.tuner.foreign_names,
                      layouts=net.layouts).tensors
    grads = {k: p.grad for k, p in net.named_parameters() if p.requires_grad}
    assert set(ours) == set(grads)
    for key, expected in zip(ours, golden['grad_norms']):
        assert grads[key].norm().item() == pytest.approx(
            float(expected), rel=1e-4), key
