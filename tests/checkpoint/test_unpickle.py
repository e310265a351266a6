"""Files of torch.save are data: one member of each kind of hostile file."""
import os
import random
import socket

import hostile_pickles as hostile
import numpy as np
import pytest
import torch
from deltas import based, make_base
from mmengine.logging import HistoryBuffer

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.io import peek
from mona_mm.checkpoint.plain import plain
from mona_mm.errors import CheckpointError

POINTER = bytes(8)


def refused(path, content: bytes) -> str:
    """The message that refuses a file; it names the file."""
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=path.name) as error:
        read_checkpoint(str(path))
    return str(error.value)


@pytest.mark.parametrize('value, said', [
    (hostile.call('os.system', 'true'), 'needs os.system'),
    (hostile.call('numpy.ndarray', (1, ), 'O', POINTER.decode('latin1')),
     'calls numpy.ndarray'),
    (hostile.array((1, ), 'O8', POINTER), "arrays of 'O8'"),
    (hostile.array((1, ), hostile.call('numpy.dtype', 'f8') + hostile.lit(
        (3, '<', (hostile.call('numpy.dtype', 'f4'), (1, )), None, None, -1,
         -1, 0)) + b'b', POINTER), 'dtype of the state'),
    (hostile.array((2, ), 'f8', POINTER), '8 bytes instead of 16'),
    (hostile.array((2**40, ), 'f8', POINTER), '8 bytes instead of'),
    (hostile.tensor(size=(5, )), 'larger than what is stored'),
    (hostile.tensor(offset=1), 'larger than what is stored'),
    (hostile.tensor(length=2**40), ''),
    (hostile.tensor(size=(2**20, 2**20), stride=(0, 0)), 'larger than'),
    (hostile.call('builtins.bytearray', 2**34), 'encodes'),
    (hostile.call('torch.FloatTensor', 2**34), 'needs torch.FloatTensor'),
    (hostile.glob('torch.Tensor'), 'odd in it is a name'),
    (b'}' + b')' + b'\x85' * 20000 + b'K\x01s', 'key of a dict'),
    (b']q\x00h\x00a', 'nested deeper'),
    (b')' + b'q\x00h\x00\x86' * 60, 'unfold to more'),
    (b')' + b'q\x00h\x00\x86' * 60 + b')R', 'it calls'),
    (hostile.call('collections.OrderedDict') + hostile.lit(
        dict(keys='a')) + b'b', 'attributes'),
    (hostile.call('torch._utils._rebuild_meta_tensor_no_storage',
                  hostile.glob('torch.float32'), (1, ), (1, ), False),
     'odd in it is a meta tensor'),
    (b'(K\x01itorch\nload\n', 'opcode'),
])
@pytest.mark.parametrize('form', [hostile.file_of, hostile.legacy])
def test_what_is_no_plain_data_or_lies_is_refused(tmp_path, form, value, said):
    content = form(dict(state_dict={}, odd=value))
    assert said in refused(tmp_path / 'a.pth', content)


@pytest.mark.parametrize('kind', hostile.KINDS)
def test_a_few_of_every_kind_of_hostile_file_do_nothing(
        kind, tmp_path, monkeypatch):
    """Thousands of them: tests/abuse/test_pickles.py."""
    monkeypatch.chdir(tmp_path)
    for seed in range(12):
        content = hostile.KINDS[kind](random.Random(f'{kind} {seed}'))
        (tmp_path / 'a.pth').write_bytes(content)
        try:
            read_checkpoint('a.pth')
        except CheckpointError as error:
            assert 'a.pth' in str(error)
        assert os.listdir() == ['a.pth']


def test_sparse_and_quantized_tensors_are_refused_by_name(tmp_path):
    for kind, value in (
        ('sparse', torch.eye(3).to_sparse()),
        ('quantized', torch.quantize_per_tensor(
            torch.ones(3), .1, 0, torch.qint8)),
        ('meta', torch.ones(3, device='meta'))):
        torch.save(dict(state_dict=dict(w=value)), tmp_path / 'a.pth')
        with pytest.raises(CheckpointError, match='a.pth.*state_dict.w in it '
                                                  f'is a {kind} tensor'):
            read_checkpoint(str(tmp_path / 'a.pth'))


def test_everything_else_comes_back_as_torch_load_has_it(tmp_path):
    tensors = dict(
        a=torch.arange(6.).view(2, 3).t(), b=torch.ones(1).expand(3, 3),
        c=torch.zeros(0), d=torch.tensor(3), e=torch.ones(2).bfloat16(),
        f=torch.nn.Parameter(torch.ones(2)), g=torch.ones(2, dtype=torch.bool),
        h=torch.ones(2, dtype=torch.complex64),
        i=torch.ones(2).to(torch.float8_e4m3fn),
        j=torch.ones(3, dtype=torch.uint16), k=torch.ones(4)[1:3])
    plain = dict(
        a=(1, [2, {3: 'x'}]), b=b'\0\xff', c=bytearray(b'x'), d={1, 'a'},
        e=1 + 2j, f=2**70, g=float('inf'), h=None, i=torch.Size([2, 3]),
        j=torch.device('cpu'), k=torch.float32, l=np.dtype('f4'),
        m=np.float64(2), n=np.int64(3), o='\u00fc', p=True)
    arrays = dict(
        a=np.arange(6).reshape(2, 3), b=np.asfortranarray(np.ones((2, 3))),
        c=np.array([True, False]), d=np.float32([1, 2]), e=np.zeros((0, 3)))
    for legacy in (False, True):
        torch.save(dict(tensors=tensors, plain=plain, arrays=arrays),
                   tmp_path / 'a.pth',
                   _use_new_zipfile_serialization=not legacy)
        found = read_checkpoint(str(tmp_path / 'a.pth'))
        assert found['plain'] == plain
        assert [*map(type, found['plain'].values())] == [
            *map(type, plain.values())]
        for key, value in tensors.items():
            own = found['tensors'][key]
            assert type(own) is type(value) and own.dtype == value.dtype, key
            assert own.stride() == value.stride(), key
            assert torch.equal(own.to(torch.complex64),
                               value.to(torch.complex64)), key
        for key, value in arrays.items():
            own = found['arrays'][key]
            assert own.dtype == value.dtype and np.array_equal(own, value)
            assert own.flags.f_contiguous == value.flags.f_contiguous


def test_tensors_that_share_memory_do_so_after_reading(tmp_path):
    whole = torch.arange(4.)
    torch.save(dict(whole=whole, part=whole[2:]), tmp_path / 'a.pth')
    found = read_checkpoint(str(tmp_path / 'a.pth'))
    found['whole'][3] = 9
    assert found['part'].tolist() == [2, 9]


def test_peek_reads_all_but_the_values(tmp_path):
    torch.save(dict(w=torch.ones(4), n=3), tmp_path / 'a.pth')
    found = peek(str(tmp_path / 'a.pth'))
    assert found['w'].is_meta and found['w'].shape == (4, ) and found[
        'n'] == 3


def entry_points(folder, path: str, base: str):
    """Every way of ours, and of mmengine, from a path to what is in it."""
    from mmengine.config import Config
    from mmengine.runner import CheckpointLoader

    from mona_mm.checkpoint.convert import convert_file
    from mona_mm.checkpoint.extract import extract_delta
    from mona_mm.checkpoint.merge import merge_delta
    from mona_mm.checkpoint.publish import publish
    from mona_mm.checkpoint.switch import DeltaSwitch
    from mona_mm.engine.preflight import check_start
    from mona_mm.engine.resumable.newest import newest_checkpoint, verify
    out = str(folder / 'out.pth')
    (folder / 'a.py').write_text('a = 1\n')
    switch = DeltaSwitch(based('LoRA', base))
    return {
        'loader': lambda: CheckpointLoader.load_checkpoint(path),
        'init_cfg': lambda: based('LoRA', path),
        'load_from': lambda: check_start(Config(dict(load_from=path))),
        'resume': lambda: verify(path),
        'resume without a path': lambda: newest_checkpoint(
            Config(dict(work_dir=str(folder)))),
        'convert': lambda: convert_file(path, out),
        'extract': lambda: extract_delta(path, out),
        'merge': lambda: merge_delta(str(folder / 'a.py'), path, out),
        'publish': lambda: publish(path, out),
        'switch': lambda: switch.load('a', path),
    }


def test_every_way_to_read_a_file_refuses_it_by_name(tmp_path):
    base = make_base(tmp_path / 'base.safe')
    (tmp_path / 'run').mkdir()
    path = tmp_path / 'run/a.pth'
    path.write_bytes(hostile.file_of(dict(
        state_dict={}, meta=dict(odd=hostile.array((1, ), 'O8', POINTER)))))
    for name, read in entry_points(tmp_path / 'run', str(path), base).items():
        with pytest.raises(CheckpointError) as error:
            read()
        assert 'a.pth' in str(error.value) and "'O8'" in str(error.value), name


def special_files(folder):
    os.mkfifo(folder / 'pipe.pth')
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / 'socket.pth'))
    (folder / 'folder.pth').mkdir()
    (folder / 'device.pth').symlink_to('/dev/zero')
    return ('pipe', 'socket', 'folder', 'device')


def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    for name in special_files(tmp_path):
        with pytest.raises(CheckpointError, match=f'no regular file.*{name}'):
            read_checkpoint(f'{name}.pth')


class Text(str):
    """A text of a class that no reader knows."""


def test_plain_turns_what_can_be_saved_into_what_can_be_read(tmp_path):
    import enum
    from collections import Counter, OrderedDict, defaultdict, namedtuple
    from pathlib import Path
    Kind = enum.IntEnum('Kind', 'ONE TWO')
    given = dict(
        classes=tuple(np.unique(['b', 'a'])), names=np.array(['x', 'yz']),
        flag=np.bool_(True), score=np.float32(.5), count=np.int64(3),
        path=Path('/a/b'), kind=Kind.TWO, text=Text('t'),
        pair=namedtuple('Pair', 'a b')(1, 2), odd=defaultdict(int, a=1),
        array=np.arange(3), order=OrderedDict(a=Counter('aab')),
        objects=np.array([1, 'a', None], dtype=object), deep={1: {(2, 'a'): {
            3}}}, buffer=HistoryBuffer([1.], [1]))
    made, left = plain(given)
    assert left == []
    torch.save(made, tmp_path / 'a.pth')
    found = read_checkpoint(str(tmp_path / 'a.pth'))
    assert found.pop('buffer').mean() == 1
    assert found.pop('array').tolist() == [0, 1, 2]
    assert found == dict(
        classes=('a', 'b'), names=['x', 'yz'], flag=True, score=.5, count=3,
        path='/a/b', kind=2, text='t', pair=(1, 2), odd=dict(a=1),
        order=OrderedDict(a=Counter(a=2, b=1)), objects=[1, 'a', None],
        deep={1: {(2, 'a'): {3}}})
    assert all(type(c) is str for c in found['classes'])


def test_plain_names_and_leaves_out_what_nobody_could_read():
    made, left = plain(dict(
        a=1, b=dict(f=print, c=[1, object()]), d=np.datetime64('2020-01-01'),
        e=10**700, f={2**60: 'x'}))
    assert made == dict(a=1, b={}, f={})
    assert [line.split(' ')[0] for line in left] == [
        'b.f', 'b.c.1', 'd', 'e', 'a']
