"""Damaged and hostile files are refused by name, or do no harm at all."""
import json
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict

import pytest
import torch
from deltas import based, make_base, move, same_state, save_delta, with_head

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.models import load_all
from mona_mm.errors import CheckpointError

TUNER = dict(type='LoRA', rank=2)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('fuzz')


@pytest.fixture(scope='module')
def model(folder):
    return move(with_head(based(TUNER, make_base(folder / 'base.pth'))))


@pytest.fixture(scope='module')
def victim(folder, model):
    """A model of the same config that files are loaded into."""
    return with_head(based(TUNER, folder / 'base.pth'))


@pytest.fixture(scope='module')
def files(folder, model):
    """The undamaged files, by format."""
    return {
        ending: save_delta(model, folder / f'good.{ending}',
                           meta=dict(cfg='a = 1')).read_bytes()
        for ending in ('pth', 'safetensors')}


def outcome(path, content, model, victim) -> bool:
    """Whether a file was refused by name; else it must be harmless."""
    path.write_bytes(content)
    try:
        load_all(victim, read_checkpoint(str(path)), str(path))
    except CheckpointError as error:
        assert str(path) in str(error)
        return True
    assert same_state(victim, model)
    return False


def damaged(content, seed):
    """One of many small damages."""
    chance = random.Random(seed)
    content, at = bytearray(content), chance.randrange(len(content))
    kind = chance.randrange(8)
    if kind < 5:
        content[at] ^= 1 << chance.randrange(8)
    elif kind == 5:
        del content[at:]
    elif kind == 6:
        del content[at:at + chance.randrange(1, 64)]
    else:
        content[at:at] = chance.randbytes(chance.randrange(1, 64))
    return bytes(content)


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_damaged_delta_is_refused_or_loads_bit_for_bit(
        ending, folder, files, model, victim):
    path = folder / f'damaged.{ending}'
    refused = [
        outcome(path, damaged(files[ending], seed), model, victim)
        for seed in range(400)]
    assert sum(refused) > 320
    assert not outcome(path, files[ending], model, victim)


def test_flipped_bit_in_any_part_of_the_header_is_harmless(
        folder, files, model, victim):
    path, content = folder / 'header.safetensors', files['safetensors']
    length = struct.unpack('<Q', content[:8])[0]
    for at in range(0, 8 + length, 23):
        spoiled = bytearray(content)
        spoiled[at] ^= 1 << at % 8
        outcome(path, bytes(spoiled), model, victim)


def test_damaged_base_is_refused_or_read_bit_for_bit(folder, model):
    good = (folder / 'base.pth').read_bytes()
    state = read_checkpoint(str(folder / 'base.pth'))['state_dict']
    path, refused = folder / 'damaged_base.pth', 0
    for seed in range(100):
        path.write_bytes(damaged(good, seed))
        try:
            found = read_checkpoint(str(path))['state_dict']
        except CheckpointError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert found.keys() == state.keys()
            assert all(torch.equal(found[k], v) for k, v in state.items())
    assert refused > 60


def wrong_states(state):
    """State dicts with a wrong key, shape, dtype or value."""
    metadata = state._metadata
    for key in state:
        others = dict(
            renamed={f'{key}x': state[key]}, dropped={},
            nothing={key: None}, text={key: 'weights'}, number={key: 3},
            nested={key: [state[key]]}, double={key: state[key].double()},
            half={key: state[key].half()}, flat={key: state[key][None]},
            longer={key: torch.cat([state[key].reshape(-1)] * 2)},
            moved={key: state[key] + 1},
            wide={key: torch.zeros(1).expand(1 << 40)})
        for name, change in others.items():
            changed = OrderedDict(
                (k, v) for k, v in state.items() if k != key)
            changed.update(change)
            changed._metadata = metadata
            yield name, key, changed
    yield 'more', 'head.odd', _with(state, odd=torch.ones(1))
    yield 'attribute', 'keys', _attribute(state)


def _with(state, **more):
    changed = OrderedDict(state, **more)
    changed._metadata = state._metadata
    return changed


def _attribute(state):
    changed = _with(state)
    changed.keys = 'not callable'
    return changed


def test_wrong_keys_shapes_dtypes_and_values_are_refused(
        folder, files, model, victim):
    good = read_checkpoint(str(folder / 'good.pth'))['state_dict']
    path = folder / 'wrong.pth'
    for name, key, state in wrong_states(good):
        torch.save(dict(state_dict=state), path)
        content = path.read_bytes()
        assert outcome(path, content, model, victim), f'{key} {name}'


class Call:
    """Unpickling this calls a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def hostile_contents(state, target):
    calls = [
        Call(os.mkdir, target), Call(os.system, f'mkdir {target}'),
        Call(eval, f'__import__("os").mkdir({target!r})'),
        Call(exec, f'__import__("os").mkdir({target!r})'),
        Call(getattr, os, 'mkdir'), Call(getattr, torch.Tensor, 'backward'),
        Call(__import__, 'antigravity'), Call(open, target, 'w'),
        Call(pickle.loads, pickle.dumps(Call(os.mkdir, target))),
        Call(torch.load, target), Call(type, 'A', (), {})]
    for call in calls:
        yield call
        yield dict(state_dict=call)
        yield dict(state_dict=state, meta=call)
        yield dict(state_dict=state, optimizer=dict(state={0: call}))
        yield dict(state_dict=_with(state, odd=call))
        yield [call]


def test_hostile_pickles_are_refused_and_nothing_of_them_runs(folder, files):
    good = read_checkpoint(str(folder / 'good.pth'))['state_dict']
    target, path = folder / 'made', folder / 'hostile.pth'
    for content in hostile_contents(good, str(target)):
        for write in (
                lambda c: torch.save(c, path),
                lambda c: torch.save(
                    c, path, _use_new_zipfile_serialization=False),
                lambda c: path.write_bytes(pickle.dumps(c))):
            try:
                write(content)
            except Exception:
                continue  # Python itself cannot pickle it
            with pytest.raises(CheckpointError) as error:
                read_checkpoint(str(path))
            assert str(path) in str(error.value)
            assert not target.exists()


def test_archive_that_would_unpack_to_more_than_itself_is_refused(
        folder, files):
    path = folder / 'bomb.pth'
    with zipfile.ZipFile(folder / 'good.pth') as good, zipfile.ZipFile(
            path, 'w', zipfile.ZIP_DEFLATED) as bomb:
        for name in good.namelist():
            bomb.writestr(name, good.read(name) + bytes(1 << 22))
    with pytest.raises(CheckpointError, match='bomb.pth.*would come out'):
        read_checkpoint(str(path))


def lies(header):
    """Safetensors headers that do not tell the truth."""
    names = [n for n in header if n != '__metadata__']
    entry = {n: dict(header[n]) for n in names}
    end = max(e['data_offsets'][1] for e in entry.values())
    for name in names:
        begin, stop = entry[name]['data_offsets']
        shape = entry[name]['shape']
        for change in (
                dict(shape=[1 << 62]), dict(shape=[1 << 40, 1 << 40]),
                dict(shape=[-1, -1]), dict(shape=[*shape, 2]),
                dict(shape=[*map(float, shape), 1.]), dict(shape='ab'),
                dict(shape=None), dict(shape=[True]), dict(shape=[1] * 100),
                dict(shape={'0': 1}), dict(dtype='F64'), dict(dtype='I8'),
                dict(dtype='X9'), dict(dtype=None), dict(dtype=['F32']),
                dict(data_offsets=[begin, stop + 4]),
                dict(data_offsets=[begin + 4, stop + 4]),
                dict(data_offsets=[stop, begin - 4]),
                dict(data_offsets=[0, end]), dict(data_offsets=[-4, 0]),
                dict(data_offsets=[0, 1 << 62]), dict(data_offsets=[0]),
                dict(data_offsets=[begin, stop, stop]),
                dict(data_offsets=None),
                dict(data_offsets=[str(begin), str(stop)])):
            yield {**header, name: {**header[name], **change}}
        yield {**header, name: None}
        yield {k: v for k, v in header.items() if k != name}
        yield {**header, f'{name}.twin': header[name]}
    yield {**header, '__metadata__': {'mona_mm': 3}}
    yield {**header, '__metadata__': {'mona_mm': '{}'}}
    yield {**header, '__metadata__': ['mona_mm']}
    yield []
    yield None


def with_header(content, text: bytes, length=None):
    old = struct.unpack('<Q', content[:8])[0]
    length = len(text) if length is None else length
    return struct.pack('<Q', length) + text + content[8 + old:]


def test_safetensors_with_a_lying_header_is_refused(
        folder, files, model, victim):
    content, path = files['safetensors'], folder / 'lie.safetensors'
    length = struct.unpack('<Q', content[:8])[0]
    text = content[8:8 + length]
    header = json.loads(text)
    refused = [
        outcome(path, with_header(content, json.dumps(lie).encode()), model,
                victim)
        for lie in lies(header)]
    assert all(refused)
    for spoiled in (
            with_header(content, text, 1 << 63),
            with_header(content, text, len(content)),
            with_header(content, text, 0), with_header(content, b''),
            with_header(content, b'[' * 100000),
            with_header(content, b'{"a":' * 100000),
            with_header(content, b'\xff' * 16),
            with_header(content, text.rstrip()[:-1] + b',"head.0.bias":1}'
                        .replace(b'head.0.bias', b'__metadata__')),
            content[:4], b'', content + b'more', content[:-1]):
        assert outcome(path, spoiled, model, victim)
