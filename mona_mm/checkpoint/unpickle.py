"""The files of ``torch.save``, read as tensors and plain data.

``torch.load(weights_only=True)`` runs no function that a file names, but
believes what it says about memory: lengths beyond what is stored, sizes of
terabytes, arrays of pointers. Here archive and pickle are read without it.
What a pickle may call are the makers below, each of which checks every number
against the file; what it may fill are dicts, lists and the few types that
mmengine's own checkpoints need.
"""
import io
import math
import os
import os.path as osp
import pickle
import re
import reprlib
import struct
import sys
import zipfile
import zlib
from collections import Counter, OrderedDict
from types import FunctionType
from typing import Any, BinaryIO, Callable, Dict, List, NamedTuple, Tuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mona_mm.errors import CheckpointError

#: What may come out of a file: so many times its size, and this on top.
_TIMES, _EXTRA = 8, 16 * 2**20
#: How deep its containers may be nested.
_DEPTH = 100
#: How many values it may hold, each counted as often as it is referred to.
_MOST = 20_000_000
_MAGIC, _VERSION = 0x1950a86a20f9469cfc6c, 1001
#: Opcodes of plain data, as PyTorch's own safe reader has them.
_OPCODES = (
    pickle.PROTO + pickle.STOP + pickle.GLOBAL + pickle.NEWOBJ +
    pickle.REDUCE + pickle.BUILD + pickle.APPEND + pickle.APPENDS +
    pickle.SETITEM + pickle.SETITEMS + pickle.MARK + pickle.TUPLE +
    pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3 + pickle.NONE +
    pickle.NEWFALSE + pickle.NEWTRUE + pickle.EMPTY_TUPLE +
    pickle.EMPTY_LIST + pickle.EMPTY_DICT + pickle.EMPTY_SET +
    pickle.BININT + pickle.BININT1 + pickle.BININT2 + pickle.BINFLOAT +
    pickle.BINUNICODE + pickle.SHORT_BINSTRING + pickle.BINPERSID +
    pickle.BINGET + pickle.LONG_BINGET + pickle.BINPUT +
    pickle.LONG_BINPUT + pickle.LONG1)
#: Methods that mmengine's log buffers name.
STATISTICS = ('min', 'max', 'mean', 'current')
#: NumPy's names of the dtypes that hold numbers or text, never objects.
_NUMPY = re.compile(r'b1|[iu][1248]|f[248]|c8|c16|[US][0-9]{1,7}')


class NotPlain(Exception):
    """A file asks for more than tensors and plain data."""


def read_torch(path: str, map_location: Any = 'cpu',
               tensors: bool = True) -> Any:
    """Read a file of ``torch.save``.

    What comes out takes at most a few times the file's size, whatever the
    file says, and nothing of it runs.

    Args:
        path (str): A regular file, in the archive format or that of before
            torch 1.6.
        map_location (str | torch.device | dict | Callable): Where tensors
            go, as in ``torch.load``.
        tensors (bool): Whether to read their values. Otherwise all of them
            are on the meta device, and only the rest is read.

    Raises:
        NotPlain: If it holds anything else.
        CheckpointError: If what it says of itself is wrong.
        Exception: Anything, if it is damaged.
    """
    if not tensors:
        map_location = 'meta'
    with open(path, 'rb') as file:
        archive = file.read(4) == b'PK\x03\x04'
    read = _read_archive if archive else _read_legacy
    content = read(path, _mover(map_location), tensors)
    check_plain(content)
    return content


def check_plain(content: Any) -> None:
    """Look for what was not read, and for containers that hang who looks.

    Raises:
        NotPlain: If there is any; the message says where.
    """
    _count(content, (), {})


class _Name(NamedTuple):
    """A class or function that a pickle names; only text."""
    path: str


class _Unread(NamedTuple):
    """Stands where a file has something that is not read."""
    what: str


class _Storage:
    """The bytes of one or several tensors.

    Attributes:
        untyped (torch.UntypedStorage): The bytes, as moved.
        dtype (torch.dtype): Of the tensors in it.
        length (int): How many elements the file says that there are.
    """
    __slots__ = ('untyped', 'dtype', 'length')

    def __init__(self, untyped, dtype: torch.dtype, length: int) -> None:
        self.untyped, self.dtype, self.length = untyped, dtype, length


class _Opcodes(dict):

    def __missing__(self, code: int) -> None:
        raise NotPlain(f'it has the pickle opcode {bytes([code])!r}')


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler, which makes and fills plain data alone.

    Args:
        file (BinaryIO): The pickle.
        budget (int): Bytes that may come out of it.
        load (Callable): From a storage's key, location, dtype and length to
            its bytes.
    """

    dispatch = _Opcodes(
        (code, pickle._Unpickler.dispatch[code]) for code in _OPCODES)

    def __init__(self, file: BinaryIO, budget: int,
                 load: Callable) -> None:
        super().__init__(file, encoding='utf-8')
        self.budget, self.load_storage = budget, load

    def spend(self, size: int) -> None:
        """Account for bytes, before they are allocated."""
        self.budget -= size
        if size < 0 or self.budget < 0:
            raise CheckpointError('it claims to be larger than what is stored')

    def find_class(self, module: str, name: str) -> Any:
        """Look up what a pickle names: a dtype, or else its name."""
        module = 'builtins' if module == '__builtin__' else module
        path = f'{module}.{name}'
        if path in _DTYPES:
            return _DTYPES[path]
        if path in _MAKERS or path in _STORAGES or path in _INERT:
            return _Name(path)
        raise NotPlain(f'it needs {path}')

    def persistent_load(self, saved: Any) -> _Storage:
        """Find the storage that a pickle refers to."""
        kind, named, key, location, length, *view = saved
        if kind != 'storage' or type(named) is not _Name or any(view):
            raise NotPlain(f'it refers to {_show(saved)}')
        dtype = _STORAGES[named.path]
        if not (type(key) is type(location) is str) or not _is_size(length):
            raise CheckpointError(f'it refers to a storage {_show(saved)}')
        untyped = self.load_storage(key, location, dtype, length)
        return _Storage(untyped, dtype, length)

    def load_reduce(self) -> None:
        """Make something: one of our makers does."""
        arguments = self.stack.pop()
        self.stack[-1] = self._make(self.stack[-1], arguments)

    def _make(self, named: Any, arguments: Any) -> Any:
        if type(named) is not _Name or named.path not in _MAKERS:
            raise NotPlain(f'it calls {_show(named)}')
        if type(arguments) is not tuple:
            raise NotPlain(f'it calls {named.path} with {_show(arguments)}')
        return _MAKERS[named.path](self, *arguments)

    def load_build(self) -> None:
        """Fill what was made, where it is of a type that is filled."""
        state, made = self.stack.pop(), self.stack[-1]
        fill = _FILLERS.get(type(made))
        if fill is None and isinstance(made, np.dtype):
            fill = _fill_dtype
        if fill is None:
            raise NotPlain(f'it sets the state of a {type(made).__name__}')
        fill(self, made, state)

    def load_append(self) -> None:
        """Add one value to a list."""
        value = self.stack.pop()
        self._list().append(value)

    def load_appends(self) -> None:
        """Add values to a list."""
        values = self.pop_mark()
        self._list().extend(values)

    def _list(self) -> list:
        if type(self.stack[-1]) is not list:
            raise NotPlain(f'it appends to a {type(self.stack[-1]).__name__}')
        return self.stack[-1]

    def load_setitem(self) -> None:
        """Put one value into a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def load_setitems(self) -> None:
        """Put values into a dict."""
        self._put(self.pop_mark())

    def _put(self, items: list) -> None:
        if type(self.stack[-1]) not in (dict, OrderedDict, Counter):
            raise NotPlain('it sets items of a '
                           f'{type(self.stack[-1]).__name__}')
        for key, value in zip(items[::2], items[1::2]):
            self.stack[-1][check_key(key)] = value

    for _code, _load in (
        (pickle.REDUCE, load_reduce), (pickle.NEWOBJ, load_reduce),
        (pickle.BUILD, load_build), (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends), (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems)):
        dispatch[_code[0]] = _load


def check_key(key: Any) -> Any:
    """Refuse keys that take for ever to hash, or share their hashes."""
    parts = key if type(key) is tuple else (key, )
    for part in parts:
        small = not isinstance(part, int) or abs(part) < 2**53
        if len(parts) > 64 or not small or not isinstance(
                part, (str, int, float, bytes, type(None), np.generic,
                       torch.dtype, torch.device)):
            raise NotPlain(f'a {type(key).__name__} is the key of a dict')
    return key


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _sizes(value: Any) -> Tuple[int, ...]:
    if not isinstance(value, tuple) or not all(map(_is_size, value)):
        raise CheckpointError(f'it has the sizes {_show(value)}')
    return value


def _tensor(reader: _Unpickler, storage: Any, offset: Any, size: Any,
            stride: Any, trains: Any = False, *rest) -> Tensor:
    """Make a tensor, all of whose elements are in its storage.

    The last one is at offset + sum((size - 1) * stride).
    """
    if type(storage) is not _Storage or not _is_size(offset):
        raise CheckpointError(f'a tensor of it is broken: {_show(offset)}')
    size, stride = _sizes(size), _sizes(stride)
    count = math.prod(size)
    end = offset + 1 + sum((n - 1) * s for n, s in zip(size, stride))
    if len(size) != len(stride) or (end if count else offset) > (
            storage.length):
        raise CheckpointError(
            f'a tensor of shape {size} claims to be larger than what is '
            'stored')
    reader.spend(count * storage.dtype.itemsize)
    untyped = storage.untyped
    made = torch.empty(0, dtype=storage.dtype, device=untyped.device)
    made.set_(untyped, offset, size, stride)
    return made.requires_grad_() if trains is True else made


def _tensor_of_dtype(reader: _Unpickler, storage: Any, offset: Any, size: Any,
                     stride: Any, trains: Any, hooks: Any, dtype: Any,
                     *rest) -> Tensor:
    """Make a tensor of a dtype that has no storage type of its own."""
    if type(storage) is not _Storage or type(dtype) is not torch.dtype:
        raise CheckpointError(f'a tensor of it is broken: {_show(dtype)}')
    storage = _Storage(
        storage.untyped, dtype,
        storage.length * storage.dtype.itemsize // dtype.itemsize)
    return _tensor(reader, storage, offset, size, stride, trains)


def _parameter(reader: _Unpickler, data: Any, trains: Any = True,
               *rest) -> Any:
    if type(data) is _Unread:
        return data
    if type(data) is not Tensor:
        raise CheckpointError(f'a parameter of it is a {type(data).__name__}')
    return torch.nn.Parameter(data.detach(), requires_grad=trains is True)


def _tensor_with_attributes(reader: _Unpickler, function: Any, kind: Any,
                            arguments: Any, state: Any) -> Any:
    """Make a tensor without what Python code had hung on it."""
    if kind not in (_Name('torch.Tensor'),
                    _Name('torch.nn.parameter.Parameter')):
        raise NotPlain(f'it holds tensors of the type {_show(kind)}')
    return reader._make(function, arguments)


def _unread(what: str) -> Callable:
    return lambda reader, *arguments: _Unread(what)


def _ordered_dict(reader: _Unpickler, items: Any = ()) -> OrderedDict:
    if type(items) not in (list, tuple):
        raise NotPlain(f'it makes an OrderedDict of {_show(items)}')
    reader.spend(128 * len(items))
    return OrderedDict((check_key(key), value) for key, value in items)


def _counter(reader: _Unpickler, counts: Any = ()) -> Counter:
    if counts != () and type(counts) is not dict:
        raise NotPlain(f'it makes a Counter of {_show(counts)}')
    reader.spend(128 * len(counts))
    return Counter(counts)


def _set(reader: _Unpickler, values: Any = ()) -> set:
    if type(values) not in (list, tuple):
        raise NotPlain(f'it makes a set of {_show(values)}')
    reader.spend(64 * len(values))
    return set(map(check_key, values))


def _bytes(reader: _Unpickler, text: Any, encoding: Any = 'latin1') -> bytes:
    """Make bytes, of the text that protocol 2 writes them as."""
    if type(text) is not str or encoding not in ('latin1', 'latin-1'):
        raise NotPlain(f'it encodes {_show(text)} as {_show(encoding)}')
    reader.spend(len(text))
    return text.encode('latin1')


def _bytearray(reader: _Unpickler, content: Any = b'',
               *encoding) -> bytearray:
    if type(content) is not bytes:
        content = _bytes(reader, content, *encoding)
    reader.spend(len(content))
    return bytearray(content)


def _dtype(reader: _Unpickler, name: Any, *flags) -> np.dtype:
    """Make a dtype of numbers or text; objects would be pointers."""
    if type(name) is not str or not _NUMPY.fullmatch(name):
        raise NotPlain(f'it needs arrays of {_show(name)}')
    return np.dtype(name)


def _array(reader: _Unpickler, kind: Any, shape: Any, code: Any) -> Any:
    """Make an empty array, to be filled."""
    if kind not in (_Name('numpy.ndarray'), ):
        raise NotPlain(f'it makes arrays of the type {_show(kind)}')
    return np.empty(0, np.int8)


def _scalar(reader: _Unpickler, dtype: Any, raw: Any) -> Any:
    values = np.empty(0, np.int8)
    _fill_array(reader, values, (1, (1, ), dtype, False, raw))
    # Text becomes Python's own: a NumPy string could not be saved again.
    return values[0].item() if dtype.kind in 'US' else values[0]


def _statistic(reader: _Unpickler, owner: Any, name: Any) -> Callable:
    """Stand in for ``getattr``, which log buffers use for their methods."""
    if owner != _Name(_HISTORY) or name not in STATISTICS:
        raise NotPlain(f'it asks for getattr of {_show(owner)}, {_show(name)}')
    return getattr(HistoryBuffer, name)


def _fill_ordered_dict(reader: _Unpickler, made: OrderedDict,
                       state: Any) -> None:
    if type(state) is not dict or set(state) - {'_metadata'}:
        raise NotPlain('its state dict is broken: it has the attributes '
                       f'{_show(state)}')
    vars(made).update(state)


def _fill_array(reader: _Unpickler, made: np.ndarray, state: Any) -> None:
    """Fill an array with bytes, of which there are just as many."""
    _, shape, dtype, fortran, raw = state
    if not isinstance(dtype, np.dtype) or type(raw) is not bytes:
        raise NotPlain(f'it has arrays of {_show(dtype)}')
    size = math.prod(_sizes(shape)) * dtype.itemsize
    if len(raw) != size:
        raise CheckpointError(f'an array of shape {shape} in it has '
                              f'{len(raw)} bytes instead of {size}')
    if dtype.kind == 'U':
        raw.decode('utf-32-le')  # or it is no text
    reader.spend(size)
    made.__setstate__((1, shape, dtype, fortran is True, raw))


def _fill_dtype(reader: _Unpickler, made: np.dtype, state: Any) -> None:
    """Check that a dtype's state says what its name does: little-endian."""
    _, order, *parts = state[:5]
    if len(state) != 8 or order not in ('<', '|', '=') or any(
            part is not None for part in parts):
        raise NotPlain(f'it has a dtype of the state {_show(state)}')


def _fill_history(reader: _Unpickler, made: HistoryBuffer,
                  state: Any) -> None:
    """Fill a log buffer; its methods are those that the class has anyway."""
    kept = {k: v for k, v in state.items() if k not in (
        'statistics_methods', '_statistics_methods')}
    lines = [kept.get(k) for k in ('_log_history', '_count_history')]
    if len(kept) != 3 or not _is_size(kept.get('max_length')) or not all(
            type(v) is np.ndarray and v.dtype.kind in 'fiu' and v.ndim == 1
            for v in lines) or len({v.size for v in lines}) > 1:
        raise NotPlain(f'a log buffer in it is broken: {_show(state)}')
    made.__init__()  # they are of the class
    vars(made).update(kept)


_HISTORY = 'mmengine.logging.history_buffer.HistoryBuffer'
_DTYPES: Dict[str, torch.dtype] = {
    str(value): value
    for value in vars(torch).values() if isinstance(value, torch.dtype)
    and re.fullmatch(r'torch\.(bool|u?int(8|16|32|64)|b?float.*|complex.*)',
                     str(value)) and value.itemsize
}
_STORAGES: Dict[str, torch.dtype] = {
    f'torch.{kind}Storage': dtype
    for kind, dtype in dict(
        Double=torch.double, Float=torch.float, Half=torch.half,
        BFloat16=torch.bfloat16, Long=torch.long, Int=torch.int,
        Short=torch.short, Char=torch.int8, Byte=torch.uint8, Bool=torch.bool,
        ComplexDouble=torch.cdouble, ComplexFloat=torch.cfloat,
        QUInt8=torch.quint8, QInt8=torch.qint8,
        QInt32=torch.qint32).items()
}
_STORAGES['torch.storage.UntypedStorage'] = torch.uint8
#: Names that are an argument of makers, or quantized tensors' business.
_INERT = ('torch.Tensor', 'numpy.ndarray', 'torch.per_tensor_affine',
          'torch.per_tensor_symmetric', 'torch.per_channel_affine',
          'torch.per_channel_symmetric',
          'torch.per_channel_affine_float_qparams')
_MAKERS: Dict[str, Callable] = {
    'builtins.bytearray': _bytearray,
    'builtins.bytes': lambda reader: b'',  # others are encoded
    'builtins.complex': lambda reader, real, imag: complex(real, imag),
    'builtins.frozenset': lambda *given: frozenset(_set(*given)),
    'builtins.getattr': _statistic,
    'builtins.set': _set,
    '_codecs.encode': _bytes,
    'collections.Counter': _counter,
    'collections.OrderedDict': _ordered_dict,
    _HISTORY: lambda reader: HistoryBuffer.__new__(HistoryBuffer),
    'numpy.dtype': _dtype,
    # NumPy 1's name, and NumPy 2's
    'numpy.core.multiarray._reconstruct': _array,
    'numpy._core.multiarray._reconstruct': _array,
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
    'torch.Size': lambda reader, sizes: torch.Size(_sizes(sizes)),
    'torch.device': lambda reader, *given: torch.device(*given),
    'torch.serialization._get_layout': _unread('layout'),
    'torch.nn.parameter.Parameter': _parameter,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter,
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_tensor_v3': _tensor_of_dtype,
    'torch._tensor._rebuild_from_type_v2': _tensor_with_attributes,
    'torch._utils._rebuild_meta_tensor_no_storage': _unread('meta tensor'),
    'torch._utils._rebuild_nested_tensor': _unread('nested tensor'),
    'torch._utils._rebuild_qtensor': _unread('quantized tensor'),
    'torch._utils._rebuild_sparse_tensor': _unread('sparse tensor'),
}
_FILLERS: Dict[type, Callable] = {
    HistoryBuffer: _fill_history,
    OrderedDict: _fill_ordered_dict,
    np.ndarray: _fill_array,
}


def _show(value: Any) -> str:
    """Show a value in a message, whatever it is and holds."""
    if type(value) is _Name:
        return value.path
    if isinstance(value, (str, int, bytes, type(None), tuple, list, dict)):
        return reprlib.repr(value)
    return f'a {type(value).__name__}'


def _count(value: Any, path: tuple, seen: Dict[int, Tuple[int, int]]) -> int:
    """Count values as often as they are referred to, as printing them does."""
    if type(value) in (_Unread, _Storage, _Name, FunctionType):
        what = value.what if type(value) is _Unread else (
            type(value).__name__.strip('_').lower())
        raise NotPlain(f'{".".join(map(str, path))} in it is a {what}')
    if not isinstance(value, (dict, list, tuple)) or not value:
        return 1
    if len(path) > _DEPTH:
        raise NotPlain(f'its data are nested deeper than {_DEPTH} levels')
    depth, count = seen.get(id(value), (-1, 0))
    if depth >= len(path):
        return count
    items = value.items() if isinstance(value, dict) else enumerate(value)
    count = 1 + sum(_count(v, (*path, k), seen) for k, v in items)
    if count > _MOST:
        raise NotPlain(f'its data unfold to more than {_MOST:,} values')
    seen[id(value)] = len(path), count
    return count


def _mover(map_location: Any) -> Callable:
    """From storage and location to the storage where it should be."""
    restore = torch.serialization.default_restore_location
    if map_location is None:
        return restore
    if isinstance(map_location, dict):
        return lambda storage, location: restore(
            storage, map_location.get(location, location))
    if callable(map_location):
        def move(storage, location):
            moved = map_location(storage, location)
            return restore(storage, location) if moved is None else moved
        return move
    return lambda storage, location: restore(storage, str(map_location))


def _read_archive(path: str, move: Callable, tensors: bool) -> Any:
    """Read the format of torch 1.6 and later: a zip of stored members."""
    with open(path, 'rb') as file, zipfile.ZipFile(file) as archive:
        members = {m.filename: m for m in archive.infolist()}
        _check_members(archive.infolist(), osp.getsize(path))
        roots = [n for n in members if re.fullmatch('[^/]+/data.pkl', n)]
        if len(roots) != 1:
            raise CheckpointError('it is an archive, but none of torch.save: '
                                  f'it has {len(roots)} members data.pkl')
        root = roots[0].removesuffix('data.pkl')
        if f'{root}constants.pkl' in members:
            raise NotPlain('it is a TorchScript archive')
        order = f'{root}byteorder'
        swapped = order in members and (
            archive.read(order) != sys.byteorder.encode())
        storages: Dict[str, Any] = {}

        def load(key: str, location: str, dtype: torch.dtype,
                 length: int) -> torch.UntypedStorage:
            member = members[f'{root}data/{key}']
            if member.file_size < length * dtype.itemsize:
                raise CheckpointError(
                    f'{member.filename} in it has {member.file_size} bytes '
                    f'instead of {length * dtype.itemsize}')
            if key not in storages and tensors:
                found = _stored(file, member)
                if swapped:
                    found.byteswap(dtype)
                storages[key] = move(found, location)
            elif key not in storages:
                storages[key] = torch.UntypedStorage(
                    member.file_size, device='meta')
            return storages[key]

        pickled = archive.read(roots[0])
        content = _Unpickler(io.BytesIO(pickled), budget(path), load).load()
        known = {roots[0], order, *(f'{root}data/{key}' for key in storages)}
        for name in members.keys() - known if tensors else ():
            _stored(file, members[name])  # their checksums count as well
    return content


def _check_members(members: List[zipfile.ZipInfo], size: int) -> None:
    """Refuse archives whose members overlap, or hold more than is there."""
    packed = sum(m.file_size for m in members)
    if packed > size:  # torch.save never compresses
        raise CheckpointError(f'it is damaged: {packed} bytes would come out '
                              f'of a file of {size}')
    odd = [m.filename for m in members if m.compress_type or m.flag_bits & 1]
    if odd or len({m.filename for m in members}) < len(members):
        raise CheckpointError(
            'it is an archive, but none of torch.save: it has members that '
            'are compressed, encrypted or there twice')


def _read_legacy(path: str, move: Callable, tensors: bool) -> Any:
    """Read the format before torch 1.6: pickles, then the storages' bytes."""
    size = osp.getsize(path)
    lengths: Dict[str, Tuple[torch.dtype, int]] = {}
    storages: Dict[str, torch.UntypedStorage] = {}
    moved: Dict[str, torch.UntypedStorage] = {}

    def declare(key: str, location: str, dtype: torch.dtype,
                length: int) -> torch.UntypedStorage:
        if lengths.setdefault(key, (dtype, length)) != (dtype, length) or (
                length * dtype.itemsize > size):
            raise CheckpointError(f'its storage {key} claims to be larger '
                                  'than what is stored')
        return torch.UntypedStorage(length * dtype.itemsize, device='meta')

    def load(key: str, location: str, dtype: torch.dtype,
             length: int) -> torch.UntypedStorage:
        if key not in moved:
            moved[key] = move(storages[key], location)
        return moved[key]

    with _Bounded(io.FileIO(path)) as file:

        def unpickle(load: Callable) -> Any:
            return _Unpickler(file, budget(path), load).load()

        magic, version, _ = (unpickle(declare) for _ in range(3))
        if (magic, version) != (_MAGIC, _VERSION):
            raise CheckpointError('it is no file of torch.save')
        # The bytes come after the pickle that needs them: it is read twice.
        start = file.tell()
        content = unpickle(declare)
        if not tensors:
            return content
        for key in unpickle(declare):
            dtype, length = lengths[key]
            if struct.unpack('<q', file.read(8)) != (length, ):
                raise CheckpointError(f'its storage {key} is not of the '
                                      'length that was saved')
            storages[key] = _bytes_of(file, length * dtype.itemsize)
        file.seek(start)
        return unpickle(load)


class _Bounded(io.BufferedReader):
    """A file that never allocates more than it has."""

    def read(self, size: int = -1) -> bytes:
        """Read; what is asked for may be gigabytes."""
        if size > 1 << 16:
            size = min(size, os.fstat(self.fileno()).st_size)
        return super().read(size)


def _bytes_of(file: BinaryIO, size: int) -> torch.UntypedStorage:
    """Read so many bytes into a storage of their own."""
    found = torch.empty(size, dtype=torch.uint8)
    if file.readinto(found.numpy()) != size:
        raise EOFError('it ends too early')
    return found.untyped_storage()


def _stored(file: BinaryIO, member: zipfile.ZipInfo) -> torch.UntypedStorage:
    """Read a member of an archive without copies, and compare its checksum.

    Its bytes come after a header of 30, its name, and padding.
    """
    file.seek(member.header_offset)
    file.seek(sum(struct.unpack('<HH', file.read(30)[26:])), os.SEEK_CUR)
    found = _bytes_of(file, member.file_size)
    view = torch.empty(0, dtype=torch.uint8).set_(found).numpy()
    if zlib.crc32(view) != member.CRC:
        raise CheckpointError(f'it is damaged ({member.filename}): fetch it '
                              'again')
    return found


def budget(path: str) -> int:
    """How many bytes may come out of a file."""
    return _TIMES * osp.getsize(path) + _EXTRA
