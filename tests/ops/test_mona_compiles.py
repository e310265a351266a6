"""The Mona layer's kernels become machine code without spilling registers.

No device is needed: on the meta device every launch is seen and nothing runs.
"""
import pytest
import torch
from launches import compile_ahead, observed

from mona_mm.ops.mona import MonaSpec
from mona_mm.ops.mona_fused import Shared, combine_all, mona_fused
from mona_mm.tuners.mona import MonaLayer

pytest.importorskip('triton')
pytestmark = pytest.mark.slow


def launches(width=128, n=64, kernels=(3, 5, 7), scaled=True, norm=True,
             branch=True, drop=.1, dtype=torch.bfloat16,
             stream=torch.float32):
    """All launches of one layer, forward and backward."""
    with torch.device('meta'), observed() as seen:
        params = MonaLayer(width, n, kernels, scaled,
                           drop).parameters_in_order()
        x = torch.empty(2, 1024, width, dtype=stream, requires_grad=True)
        added = torch.empty_like(x, dtype=dtype) if branch else None
        shared = Shared(
            params, combine_all([params]), 0,
            torch.empty(4, dtype=torch.int64),
            torch.empty(4, 2) if branch else None, 1)
        outputs = mona_fused(
            x, added, MonaSpec((32, 32), drop, 1e-5, dtype, 1e-5), shared,
            (torch.empty(width), ) * 2 if norm else None)
        sum(o.float().sum() for o in outputs if o is not None).backward()
    return seen


@pytest.mark.parametrize('capability', [80, 90])
@pytest.mark.parametrize('change', [
    dict(),
    dict(width=512, stream=torch.bfloat16),
    dict(dtype=torch.float16, n=32),
    dict(dtype=torch.float32),
    dict(scaled=False, norm=False, branch=False, drop=0., n=16,
         kernels=(3, 3, 3)),
    dict(n=48, width=96, kernels=(7, )),
], ids=str)
def test_no_kernel_spills(change, capability):
    for launch in launches(**change):
        found = compile_ahead(launch, capability)
        name = launch.kernel.fn.__name__
        # Bytes of a thread; shared memory that all devices have.
        assert found.spills <= 16, (name, found)
        assert found.shared <= 48 * 1024, (name, found)
        print(name, capability, *found)
