"""Kernels become machine code for sm_80 and sm_90; no device is needed."""
import pytest
import torch
from launches import compile_ahead, observed

from mona_mm.ops.fused_attention import fused_attention

pytest.importorskip('triton')
HALF = torch.bfloat16


def attention(dtype, window, dims, trained):
    """The launches of a forward and a backward pass."""
    heads, width = 2, 6 * dims

    def empty(*shape, dtype=dtype):
        return torch.empty(*shape, device='meta', dtype=dtype)

    qkv = empty(2, 99, width).requires_grad_()
    bias = empty(width, dtype=torch.float32).requires_grad_(trained)
    table = empty((2 * window - 1)**2, heads, dtype=torch.float32)
    table.requires_grad_(trained)
    with observed() as launches:
        fused_attention(qkv, bias, table, (9, 11), window, 3, .2).backward(
            empty(2, 99, heads * dims))
    return launches


@pytest.mark.parametrize('capability', [80, 90])
@pytest.mark.parametrize('dtype, window, dims, trained, spills', [
    pytest.param(HALF, 7, 32, False, 0, id='swin'),
    pytest.param(HALF, 7, 32, True, 160, id='swin, trained table',
                 marks=pytest.mark.slow),
    pytest.param(torch.float16, 7, 32, True, 160, id='float16',
                 marks=pytest.mark.slow),
    pytest.param(HALF, 4, 16, True, 0, id='small', marks=pytest.mark.slow),
    pytest.param(HALF, 8, 64, False, 320, id='largest',
                 marks=pytest.mark.slow),
    pytest.param(torch.float32, 7, 32, False, 1024, id='float32',
                 marks=pytest.mark.slow),
])
def test_attention_fits_the_registers(capability, dtype, window, dims,
                                      trained, spills):
    """``spills``: bytes that a thread may store; float32 takes TF32x3."""
    launches = attention(dtype, window, dims, trained)
    names = [k.kernel.fn.__name__ for k in launches]
    assert names == ['attend', 'attend_backward',
                     'table_gradient'][:2 + trained]
    for name, launch in zip(names, launches):
        found = compile_ahead(launch, capability)
        print(name, capability, found)
        assert found.registers <= 255 and found.shared <= 100 * 1024
        assert found.spills <= spills
