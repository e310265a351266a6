"""The safetensors format, written and read without trust in the file.

Eight bytes (little endian) give the length of a JSON header, which names
each tensor's dtype, shape and place in the bytes that follow. Everything
that the header claims is checked before memory is taken.
"""
import json
import math
import os
import struct
from collections import OrderedDict
from typing import Any, Dict, List, Mapping, Tuple

import torch
from torch import Tensor

from mona_mm.errors import CheckpointError

from .record import KEY

_DTYPES = {
    'F64': torch.float64,
    'F32': torch.float32,
    'F16': torch.float16,
    'BF16': torch.bfloat16,
    'I64': torch.int64,
    'I32': torch.int32,
    'I16': torch.int16,
    'I8': torch.int8,
    'U8': torch.uint8,
    'BOOL': torch.bool,
}
_NAMES = {v: k for k, v in _DTYPES.items()}
#: The reference implementation refuses longer headers too.
_LONGEST_HEADER = 100_000_000


def read_safetensors(path: str, map_location: Any = 'cpu') -> Dict[str, Any]:
    """Read a file: ``dict(state_dict=...)``, and what else we put into it.

    Args:
        path (str): A file.
        map_location (str | torch.device | Callable): Where tensors go, as
            in ``torch.load``; of the callables, those that ignore it.

    Raises:
        CheckpointError: If the header lies or the file is incomplete.
    """
    with open(path, 'rb') as file:
        header, room = _read_header(file, os.path.getsize(path))
        extra = header.pop('__metadata__', {})
        places = _check_places(header, room)
        payload = torch.frombuffer(
            bytearray(file.read(room)), dtype=torch.uint8) if room else (
                torch.zeros(0, dtype=torch.uint8))
    state = OrderedDict(
        (name, _cut(payload, header[name], begin, end))
        for name, begin, end in places)
    if isinstance(map_location, (str, torch.device)):
        for name, value in state.items():
            state[name] = value.to(map_location)
    return _unpack(state, extra)


def write_safetensors(content: Mapping[str, Any], path: str) -> None:
    """Write the state dict of a checkpoint, with its record and ``meta``.

    Of ``meta`` that is kept which JSON can hold.

    Args:
        content (Mapping): ``dict(state_dict=..., meta=...)``.
        path (str): The file to write.

    Raises:
        CheckpointError: If a tensor's dtype has no name in the format.
    """
    state = content['state_dict']
    extra = dict(
        metadata=getattr(state, '_metadata', {}),
        meta=_json_only(content.get('meta') or {}))
    header = {'__metadata__': {'format': 'pt', KEY: json.dumps(extra)}}
    names = sorted(state, key=lambda n: (-state[n].element_size(), n))
    end = 0
    for name in names:
        tensor = state[name]
        if tensor.dtype not in _NAMES:
            raise CheckpointError(f'{name} is {tensor.dtype}, which '
                                  'safetensors cannot hold')
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = dict(
            dtype=_NAMES[tensor.dtype],
            shape=list(tensor.shape),
            data_offsets=[begin, end])
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text)
        for name in names:
            flat = state[name].detach().cpu().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().tobytes())


def _read_header(file, size: int) -> Tuple[Dict[str, Any], int]:
    start = file.read(8)
    length = struct.unpack('<Q', start)[0] if len(start) == 8 else size
    if length > min(size - 8, _LONGEST_HEADER):
        raise CheckpointError(
            f'it is no safetensors file or incomplete: a header of {length} '
            f'bytes does not fit into {size}')
    try:
        header = json.loads(
            file.read(length).decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f'its safetensors header is broken ({error}): '
                              'fetch it again') from error
    if not isinstance(header, dict):
        raise CheckpointError('its safetensors header is no JSON object')
    return header, size - 8 - length


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError('a name stands in it twice')
    return found


def _check_places(header: Mapping[str, Any],
                  room: int) -> List[Tuple[str, int, int]]:
    """All (name, begin, end), in order: without gaps, overlaps or excess."""
    places = [(name, *_check_entry(name, e)) for name, e in header.items()]
    places.sort(key=lambda place: place[1:])
    at = 0
    for name, begin, end in places:
        if begin != at:
            raise CheckpointError(
                f'its safetensors header lies: {name} starts at byte {begin} '
                f'instead of {at}')
        at = end
    if at != room:
        raise CheckpointError(
            f'its safetensors header lies, or it is incomplete: {at} bytes '
            f'of tensors are announced, {room} are there')
    return places


def _check_entry(name: str, entry: Any) -> Tuple[int, int]:
    try:
        dtype = _DTYPES[entry['dtype']]
        shape, (begin, end) = entry['shape'], entry['data_offsets']
        sizes = [*shape[:64], begin, end]
        fits = len(shape) <= 64 and all(
            type(s) is int and s >= 0 for s in sizes) and (
                end - begin == math.prod(shape) * dtype.itemsize)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f'its safetensors header is broken at {name!r} '
                              f'({type(error).__name__}: {error})') from error
    if not fits:
        raise CheckpointError(
            f'its safetensors header lies: {name!r} of {entry["dtype"]} '
            f'{shape!r:.80} cannot be at {entry["data_offsets"]!r:.80}')
    return begin, end


def _cut(payload: Tensor, entry: Mapping[str, Any], begin: int,
         end: int) -> Tensor:
    dtype = _DTYPES[entry['dtype']]
    part = payload[begin:end]
    if part.storage_offset() % dtype.itemsize or not part.numel():
        part = part.clone()
    return part.view(dtype).reshape(entry['shape'])


def _unpack(state: 'OrderedDict[str, Tensor]', extra: Any) -> Dict[str, Any]:
    if not isinstance(extra, dict) or not all(
            isinstance(v, str) for v in extra.values()):
        raise CheckpointError('its safetensors __metadata__ is no map of '
                              'texts')
    if KEY not in extra:
        return dict(state_dict=state)
    try:
        found = json.loads(extra[KEY])
        state._metadata = OrderedDict(found['metadata'])
        return dict(meta=dict(found['meta']), state_dict=state)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError('the record in it is broken '
                              f'({type(error).__name__}: {error})') from error


def _json_only(meta: Mapping[str, Any]) -> Dict[str, Any]:
    kept = {}
    for key, value in meta.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            continue
        kept[key] = value
    return kept
