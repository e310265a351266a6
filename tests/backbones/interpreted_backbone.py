"""The whole backbone by kernels, in Triton's interpreter.

``test_interpreted.py`` runs this file with TRITON_INTERPRET=1.
"""
import pytest
import torch
from helpers import TUNERS, image, loss_of
from launches import observed
from mmcv.cnn.bricks import DropPath
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.ops import fused_attention
from mona_mm.ops.launch import Kernel

ARCH = dict(embed_dims=16, depths=[2, 1, 1, 1], num_heads=[1, 2, 2, 2])


@pytest.fixture(autouse=True)
def _few_programs(monkeypatch):
    """The interpreter does one after the other."""
    monkeypatch.setattr(fused_attention, '_PROGRAMS', 2)


def lively(name, **kwargs):
    """A backbone in which every parameter matters, and nothing is drawn."""
    torch.manual_seed(0)
    net = TunedSwinTransformer(
        arch=ARCH, tuner=dict(type=name), drop_path_rate=0.,
        allow_random_base=True, **kwargs)
    for param in net.parameters():
        if param.ndim < 2 or param.shape[0] == 0 or not param.any():
            nn.init.normal_(param, std=.3)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.
        if isinstance(module, DropPath):
            module.drop_prob = 0.
    return net.train()


def outcome(net, x):
    outputs = net(x)
    trained = {n: p for n, p in net.named_parameters() if p.requires_grad}
    if trained:
        loss_of(outputs).backward()
    return outputs, {n: p.grad for n, p in trained.items()}


#: The interpreter is slow. By default: with BitFit the attention's table and
#: biases train, SSF adapts its linears. (Mona's own kernels are run in a
#: stage by interpreted_mona_stage.py.)
QUICK = ('BitFit', 'SSF')


@pytest.mark.parametrize('name', [
    t if t in QUICK else pytest.param(t, marks=pytest.mark.slow)
    for t in TUNERS])
def test_every_method_is_exact(name):
    """float32 by kernels against float64 line by line; padding and shift."""
    x = image(1, 3, 20, 36)
    with observed() as launches:
        outputs, grads = outcome(lively(name), x)
    assert {k.kernel.fn.__name__ for k in launches} >= {'attend'}
    exact, exact_grads = outcome(
        lively(name, line_by_line=True).double(), x.double())
    for a, b in zip(outputs, exact):
        assert (a - b).norm() <= 1e-5 * b.norm()
    assert grads.keys() == exact_grads.keys()
    for key, b in exact_grads.items():
        if b is None:
            assert grads[key] is None, key
        else:
            assert (grads[key] - b).norm() <= 1e-4 * max(b.norm(), 1e-3), key


class Operations(TorchDispatchMode):
    """Counts what would be a kernel on a GPU: no views, nothing empty."""
    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        returns = func._schema.returns
        view = any(r.alias_info and not r.alias_info.is_write for r in returns)
        free = 'empty' in func.name() or 'detach' in func.name()
        self.count += not view and not free
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('name', TUNERS)
def test_no_method_launches_more_than_line_by_line(name, monkeypatch):
    """Forward and backward under autocast: on a GPU, launches decide."""
    launches = []
    monkeypatch.setattr(  # what they compute does not matter here
        Kernel, '__call__', lambda self, *args: launches.append(self))
    counts = {}
    for plain in (True, False):
        net = lively(name, line_by_line=plain, skip_dropped=False)
        for _ in range(2):  # what is kept is there the second time
            launches.clear()
            with Operations() as done:
                with torch.autocast('cpu', torch.float16):
                    outputs = net(image(2, 3, 16, 16))
                if outputs[-1].requires_grad:
                    sum(o.float().sum() for o in outputs).backward()
        counts[plain] = done.count + len(launches)
    print(name, counts)
    assert 0 < counts[False] < counts[True]
