"""The safetensors format is written as specified and read back exactly."""
import json
import struct
from collections import OrderedDict

import pytest
import torch

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.files import write_checkpoint
from mona_mm.errors import CheckpointError

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16,
          torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
          torch.bool)


def test_every_dtype_and_odd_shape_comes_back_bit_for_bit(tmp_path):
    state = OrderedDict()
    for i, dtype in enumerate(DTYPES):
        for shape in ((), (0, ), (3, ), (2, 0), (2, 3, 1)):
            values = torch.randint(0, 2, shape).to(dtype)
            state[f'{i}.{len(shape)}.{values.numel()}'] = values
    state['turned'] = torch.arange(6.).reshape(2, 3).T
    path = str(tmp_path / 'a.safetensors')
    write_checkpoint(dict(state_dict=state), path)
    found = read_checkpoint(path)['state_dict']
    assert found.keys() == state.keys()
    for key, value in state.items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


def test_file_is_laid_out_as_the_format_says(tmp_path):
    state = OrderedDict(b=torch.tensor([1., 2.]), a=torch.tensor([[3]]))
    path = tmp_path / 'a.safetensors'
    write_checkpoint(dict(state_dict=state, meta=dict(
        cfg='x = 1', odd={1, 2})), str(path))
    content = path.read_bytes()
    length = struct.unpack('<Q', content[:8])[0]
    header = json.loads(content[8:8 + length])
    assert length % 8 == 0
    assert header['a'] == dict(dtype='I64', shape=[1, 1],
                               data_offsets=[0, 8])
    assert header['b'] == dict(dtype='F32', shape=[2], data_offsets=[8, 16])
    assert content[8 + length:] == struct.pack('<qff', 3, 1., 2.)
    assert all(isinstance(v, str) for v in header['__metadata__'].values())
    assert read_checkpoint(str(path))['meta'] == dict(cfg='x = 1')


def test_file_of_another_writer_is_read(tmp_path):
    header = json.dumps({
        'w': dict(dtype='F16', shape=[2], data_offsets=[0, 4]),
        '__metadata__': dict(format='pt')}).encode()
    path = tmp_path / 'theirs.safetensors'
    path.write_bytes(struct.pack('<Q', len(header)) + header + struct.pack(
        '<ee', .5, -2.))
    state = read_checkpoint(str(path))['state_dict']
    assert state['w'].dtype == torch.float16
    assert state['w'].tolist() == [.5, -2.]


def test_header_that_claims_terabytes_is_refused_before_they_are_taken(
        tmp_path):
    header = json.dumps({'w': dict(
        dtype='F32', shape=[1 << 40], data_offsets=[0, 1 << 42])}).encode()
    path = tmp_path / 'huge.safetensors'
    path.write_bytes(struct.pack('<Q', len(header)) + header)
    with pytest.raises(CheckpointError, match='huge.*no safetensors file'):
        read_checkpoint(str(path))


def test_dtype_without_a_name_is_refused_and_no_file_left(tmp_path):
    with pytest.raises(CheckpointError, match='complex64'):
        write_checkpoint(
            dict(state_dict=dict(w=torch.zeros(1, dtype=torch.complex64))),
            str(tmp_path / 'a.safetensors'))
    assert list(tmp_path.iterdir()) == []
