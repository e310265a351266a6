"""Files that a stranger might send as a checkpoint, by kind.

Every kind is a function from a random generator to a file's bytes. What would
run, if anything did, makes or imports something called ``ran``.
"""
import io
import pickle
import random
import struct
import zipfile
from functools import lru_cache
from types import MappingProxyType
from typing import Callable, Dict, Mapping

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mona_mm.checkpoint import unpickle

#: Functions that would do something, and arguments that would let them.
CALLS = (
    ('os.system', 'touch ran'), ('posix.system', 'touch ran'),
    ('builtins.eval', "open('ran', 'w')"),
    ('builtins.exec', "open('ran', 'w')"), ('builtins.open', 'ran', 'w'),
    ('__builtin__.eval', "open('ran', 'w')"),
    ('builtins.__import__', 'ran'), ('builtins.getattr', 'os', 'system'),
    ('importlib.import_module', 'ran'), ('os.mkdir', 'ran'),
    ('shutil.rmtree', 'victim'), ('os.remove', 'victim'),
    ('subprocess.Popen', 'touch ran'), ('pathlib.Path.touch', 'ran'),
    ('torch.load', 'ran'), ('torch.hub.load', 'ran'), ('numpy.load', 'ran'),
    ('torch.jit.load', 'ran'), ('torch.ops.load_library', 'ran'),
    ('numpy.memmap', 'ran'), ('numpy.fromfile', 'ran'),
    ('mmengine.utils.import_modules_from_strings', 'ran'),
    ('mmengine.registry.MODELS.build', 'ran'), ('builtins.map', 'ran'),
    ('functools.partial', 'ran'), ('operator.attrgetter', 'system'),
    ('runpy.run_path', 'ran'), ('code.interact', ), ('builtins.input', ),
    ('torch.FloatTensor', 1 << 34), ('torch.UntypedStorage', 1 << 34),
    ('builtins.bytearray', 1 << 34), ('builtins.range', 1 << 34),
    ('torch.empty', 1 << 34), ('numpy.zeros', 1 << 34),
    ('numpy.ndarray', 1 << 34), ('builtins.bytes', 1 << 34))
#: The bytes of four numbers.
STORED = MappingProxyType({'0': bytes(16)})
GLOBALS = (*unpickle._MAKERS, *unpickle._STORAGES, *unpickle._INERT,
           'torch.float32', 'torch.quint8', *(c[0] for c in CALLS))
NUMBERS = (0, 1, 2, 4, 7, -1, 255, 2**31 - 1, -2**31, 2**31, 2**53, 2**61 - 1,
           2**62, 2**63 - 1, 2**63, 2**64, -2**63, 2**200, -2**500)
TEXTS = ('', 'a', 'O', 'O8', '<', '>', '|', 'f8', '<f8', 'U9999999', 'S0',
         'V8', 'M8', 'f16', 'latin1', 'utf-7', 'storage', 'module', '0', 'cpu',
         'meta', 'cuda', 'cuda:9', 'torch.sparse_coo', 'mean', '__class__',
         'os.system', '\0', '../../x', 'a' * 1000, '\ud800', '\U0010ffff')


def glob(path: str) -> bytes:
    """A global, by its name."""
    return b'c%b\n%b\n' % tuple(map(str.encode, path.rsplit('.', 1)))


def lit(value) -> bytes:
    """A value's opcodes; bytes are opcodes already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, tuple):
        return b'(' + b''.join(map(lit, value)) + b't'
    if isinstance(value, list):
        return b'](' + b''.join(map(lit, value)) + b'e'
    if isinstance(value, dict):
        return b'}(' + b''.join(
            lit(part) for item in value.items() for part in item) + b'u'
    if isinstance(value, str):
        text = value.encode('utf-8', 'surrogatepass')
        return b'X' + struct.pack('<I', len(text)) + text
    return pickle.dumps(value, 2)[2:-1]


def call(path: str, *arguments) -> bytes:
    """A function's name, called."""
    return glob(path) + lit(arguments) + b'R'


def storage(length=4, kind='Float', key='0', location='cpu') -> bytes:
    """A reference to a storage."""
    return lit(('storage', glob(f'torch.{kind}Storage'), key, location,
                length)) + b'Q'


def tensor(offset=0, size=(4, ), stride=(1, ), **stored) -> bytes:
    """A tensor."""
    return call('torch._utils._rebuild_tensor_v2', storage(**stored), offset,
                size, stride, False, call('collections.OrderedDict'))


def array(shape, dtype, raw: bytes, state=None) -> bytes:
    """An array; ``dtype`` is a name, or opcodes."""
    if isinstance(dtype, str):
        dtype = call('numpy.dtype', dtype, False, True) + lit(
            (3, '<', None, None, None, -1, -1, 0)) + b'b'
    text = call('_codecs.encode', raw.decode('latin1'), 'latin1')
    made = call('numpy._core.multiarray._reconstruct', glob('numpy.ndarray'),
                (0, ), call('_codecs.encode', 'b', 'latin1'))
    return made + lit(state or (1, shape, dtype, False, text)) + b'b'


def file_of(value, stored: Mapping[str, bytes] = STORED,
            **members: bytes) -> bytes:
    """An archive as torch.save writes it, around a value's opcodes."""
    pickled = b'\x80\x02' + lit(value) + b'.'
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as archive:
        archive.writestr('a/data.pkl', pickled)
        archive.writestr('a/byteorder', 'little')
        for key, content in stored.items():
            archive.writestr(f'a/data/{key}', content)
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr('a/version', '3\n')
    return out.getvalue()


def legacy(value, stored: Mapping[str, bytes] = STORED, **lengths) -> bytes:
    """A file as torch.save wrote it before 1.6."""
    if b'Q' not in lit(value):
        stored = {}  # nothing refers to them
    head = b''.join(pickle.dumps(v, 2) for v in (
        unpickle._MAGIC, unpickle._VERSION, dict(little_endian=True)))
    return head + b'\x80\x02' + lit(value) + b'.' + pickle.dumps(
        list(stored), 2) + b''.join(
            struct.pack('<q', lengths.get(f'l{k}', len(v) // 4)) + v
            for k, v in stored.items())


def either(chance: random.Random, value, **given) -> bytes:
    """One of the two formats."""
    return (legacy if chance.random() < .3 else file_of)(value, **given)


def in_a_checkpoint(chance: random.Random, value) -> dict:
    """The value somewhere in what else is a checkpoint."""
    whole = dict(state_dict=dict(w=tensor()), meta=dict(epoch=1))
    where = chance.choice(['top', 'meta', 'state_dict', 'message_hub'])
    if where == 'top':
        return dict(odd=value)
    whole.setdefault(where, {})['odd'] = value
    return whole


def calls(chance: random.Random) -> bytes:
    """A function is called that does something."""
    path, *arguments = chance.choice(CALLS)
    made = chance.choice([
        call(path, *arguments),
        glob(path) + lit(tuple(arguments)) + b'\x81',  # as a class
        glob('torch.Tensor') + glob(path) + lit(tuple(arguments)) + b'R',
        call('torch._tensor._rebuild_from_type_v2', glob(path),
             glob('torch.Tensor'), tuple(arguments), {}),
        call('collections.OrderedDict') + lit(
            dict(keys=call(path, *arguments))) + b'b',
        b'(' + b''.join(map(lit, arguments)) + b'i' + glob(path)[1:],
        b'(' + glob(path) + b''.join(map(lit, arguments)) + b'o'])
    return either(chance, in_a_checkpoint(chance, made))


def arrays(chance: random.Random) -> bytes:
    """An array holds pointers, or says that it is longer than it is."""
    secret = id(chance).to_bytes(8, 'little')
    dtype = chance.choice(['O', 'O8', 'f8', 'f4', 'i8', 'b1', 'U2', 'S8',
                           'V8', 'M8', 'f16', 'c16', 'f8,O', '(2,)O'])
    with_object = call('numpy.dtype', 'f8', False, True) + lit(
        (3, '<', (call('numpy.dtype', 'O8', False, True), (1, )), None, None,
         -1, -1, 0)) + b'b'
    shape = (chance.choice(NUMBERS), ) * chance.randrange(1, 4)
    return either(chance, in_a_checkpoint(chance, chance.choice([
        call('numpy.ndarray', (1, ), 'O', call(
            '_codecs.encode', secret.decode('latin1'), 'latin1')),
        call('numpy.ndarray', shape, dtype),
        glob('numpy.ndarray') + lit((shape, dtype)) + b'\x81',
        array((1, ), dtype, secret), array((1, ), with_object, secret),
        array(shape, 'f8', secret), array((2, ), 'f8', secret),
        array((1, ), 'U2', b'\xff' * 8),
        array((1, ), 'f8', secret, (1, (1, ), None, False, [1])),
        array((1, ), 'f8', secret, (chance.choice(NUMBERS), )),
        array((1, ), 'f8', secret, [
            call('collections.OrderedDict') + b'(K\x01K\x02e']),
        call('numpy._core.multiarray.scalar',
             call('numpy.dtype', dtype, False, True), secret.hex()),
        call('numpy._core.multiarray._reconstruct',
             glob('torch.Tensor'), shape, 'b')])))


def sizes(chance: random.Random) -> bytes:
    """A tensor is not where its storage is."""
    number = chance.choice(NUMBERS)
    pick = chance.choice
    value = pick([
        tensor(size=(number, )), tensor(offset=number),
        tensor(stride=(number, )), tensor(length=number),
        tensor(size=(2**20, 2**20), stride=(0, 0)),
        tensor(size=(4, ) * 70, stride=(0, ) * 70),
        tensor(size=(5, )), tensor(offset=1), tensor(size=(2, 3),
                                                     stride=(2, 1)),
        tensor(key='9'), tensor(key='../data.pkl'), tensor(kind='Long'),
        tensor(location=pick(TEXTS)), tensor(size=(2, )),
        tensor(kind='ComplexDouble'), tensor(size=[4]),
        call('torch._utils._rebuild_tensor_v2', storage(), 0, 'ab', (1, )),
        call('torch._utils._rebuild_tensor_v3', storage(), 0, (number, ),
             (1, ), False, None, glob(pick(['torch.float64', 'torch.bits8',
                                            'torch.uint4']))),
        call('torch._utils._rebuild_qtensor', storage(kind='QUInt8'), 0,
             (number, ), (1, ), (glob('torch.per_tensor_affine'), .1, 0),
             False, None),
        call('torch._utils._rebuild_sparse_tensor',
             call('torch.serialization._get_layout', 'torch.sparse_coo'),
             (tensor(kind='Long', length=2, size=(1, 2), stride=(2, 1)),
              tensor(), (1, ))),
        call('torch._utils._rebuild_meta_tensor_no_storage',
             glob('torch.float32'), (number, ), (1, ), False),
        call('torch._utils._rebuild_nested_tensor', tensor(), tensor(),
             tensor(), tensor()),
        call('torch._utils._rebuild_wrapper_subclass', glob('torch.Tensor'),
             glob('torch.float32'), (number, )),
        call('torch.Size', (number, number)),
        call('torch._utils._rebuild_parameter', pick(
            [tensor(), lit(number)]), True, None),
        tensor() + lit((storage(), 0, (number, ), (1, ))) + b'b'])
    if chance.random() < .1:
        return legacy(dict(w=tensor()), l0=number % 2**63)
    return either(chance, in_a_checkpoint(chance, value))


@lru_cache
def _bombs() -> list:
    deep = 20000
    laughs = b')' + b'q\x00h\x00\x86' * 60  # (t, t), 60 levels
    return [
        b'}' + b')' + b'\x85' * deep + b'K\x01s',  # a deep key
        b'}' + laughs + b'K\x01s', laughs,
        b']' * deep + b'a' * (deep - 1),
        b')' + b'\x85' * deep,
        b']q\x00h\x00a',  # holds itself
        call('builtins.set', [laughs]), call('builtins.complex', laughs, 1),
        call('torch.Size', laughs), laughs + b')R', laughs + b'Q',
        lit({i * (2**61 - 1): None for i in range(1, 3000)}),
        lit('x' * 100000) + b'q\x00' + (
            glob('_codecs.encode') + b'(h\x00' + lit('latin1')
            + b'tR\x86') * 3000,  # 100 kB, three thousand times
        lit([call('builtins.bytearray', n) for n in (1 << 30, 1 << 34)]),
        b'\x8f' * 3000 + b'(' * 3000,
        b'(' * 100000, b'N' * 100000, b'X' + b'\xff' * 4, b'\x8a\xff',
        b'r\xff\xff\xff\xff' * 10,
        glob('torch.Size') + b'(' + b'K\x01' * 50000 + b't\x85R',
        lit([tensor(size=(4, 2**20), stride=(0, 0))] * 64)]


def bombs(chance: random.Random) -> bytes:
    """A small file that takes memory, stack or time for ever."""
    return either(chance, in_a_checkpoint(chance, chance.choice(_bombs())))


def archives(chance: random.Random) -> bytes:
    """An archive that torch.save would not write."""
    good = dict(state_dict=dict(w=tensor()))
    content = bytearray(file_of(good))
    pick = chance.randrange(9)
    if pick == 0:
        return file_of(good, **{'a/constants.pkl': b'x'})
    if pick == 1:
        return file_of(good, **{'b/data.pkl': b'x'})
    if pick == 2:
        out = io.BytesIO()
        with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as packed:
            with packed.open('a/data.pkl', 'w') as file:
                for _ in range(64):
                    file.write(bytes(1 << 20))
        return out.getvalue()
    if pick == 3:  # every flag: encrypted, streamed, ...
        at = content.rfind(b'PK\x01\x02')
        content[at + 8] ^= 1 << chance.randrange(8)
    elif pick == 4:  # another length, in the directory alone
        at = content.find(b'PK\x01\x02', chance.randrange(len(content) - 200))
        content[at + 20:at + 28] = struct.pack('<II', *[chance.choice(
            [0, 1, 15, 17, 2**31, 2**32 - 1])] * 2)
    elif pick == 5:
        at = content.find(b'PK\x01\x02')
        content[at + 42:at + 46] = struct.pack('<I', chance.choice(
            [1, 50, 2**31, 2**32 - 1]))
    elif pick == 6:
        return bytes(content).replace(b'a/byteorder', b'a/data.pkl_')
    elif pick == 7:
        return bytes(content).replace(b'little', b'bigger')
    else:
        del content[chance.randrange(4, len(content)):]
    return bytes(content)


def mutations(chance: random.Random) -> bytes:
    """An ordinary checkpoint, a few opcodes or bytes of which are others."""
    pickled = bytearray(_ordinary())
    for _ in range(chance.randrange(1, 4)):
        at, kind = chance.randrange(len(pickled)), chance.randrange(5)
        if kind == 0:
            pickled[at] = chance.randrange(256)
        elif kind == 1:
            pickled[at] = chance.choice(unpickle._OPCODES)
        elif kind == 2:
            del pickled[at:at + chance.randrange(1, 20)]
        elif kind == 3:
            pickled[at:at] = lit(anything(chance, 2))
        else:
            new = chance.choice(GLOBALS).rsplit('.', 1)
            pickled = pickled.replace(
                b'ctorch._utils\n_rebuild_tensor_v2\n',
                glob('.'.join(new)), 1)
    return file_of(bytes(pickled), {str(i): bytes(4096) for i in range(9)})


def grammar(chance: random.Random) -> bytes:
    """Any values, calls and states, nested in each other."""
    return either(chance, dict(state_dict=anything(chance, 4),
                               meta=dict(odd=anything(chance, 4))))


def anything(chance: random.Random, depth: int):
    """A random value, as opcodes or as itself."""
    kinds = 12 if depth else 6
    kind = chance.randrange(kinds)
    if kind == 0:
        return chance.choice(NUMBERS)
    if kind == 1:
        return chance.choice(TEXTS)
    if kind == 2:
        return chance.choice([None, True, False, 1.5, float('nan'), (), []])
    if kind == 3:
        return chance.choice([tensor(), storage(), b'q\x01', b'h\x01'])
    if kind == 4:
        return glob(chance.choice(GLOBALS))
    if kind == 5:
        return array((1, ), chance.choice(['f8', 'O8', 'U2']), bytes(8))
    inner = [anything(chance, depth - 1) for _ in range(chance.randrange(5))]
    if kind < 9:
        return call(chance.choice(GLOBALS), *inner)
    if kind == 9:
        return chance.choice([tuple, list])(inner)
    if kind == 10:
        return b'}(' + b''.join(
            lit(anything(chance, depth - 1)) + lit(v) for v in inner) + b'u'
    return call(chance.choice(GLOBALS), *inner) + lit(
        anything(chance, depth - 1)) + chance.choice([b'b', b's', b'a', b'R'])


def _ordinary() -> bytes:
    """The pickle of a small checkpoint of mmengine, without its ends."""
    out = io.BytesIO()
    buffer = HistoryBuffer([1., 2.], [1, 1])
    weights = {f'w{i}': torch.ones(4) for i in range(3)}
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(4))])
    optimizer.param_groups[0]['params'][0].grad = torch.ones(4)
    optimizer.step()
    torch.save(dict(
        state_dict=weights, optimizer=optimizer.state_dict(),
        message_hub=dict(log_scalars={'loss': buffer}, runtime_info=dict(
            score=np.float64(1), ids=[1, 2]), resumed_keys={'loss': True}),
        meta=dict(epoch=1, iter=2, dataset_meta=dict(classes=('a', 'b')))),
        out)
    with zipfile.ZipFile(out) as archive:
        return archive.read(next(
            n for n in archive.namelist() if n.endswith('data.pkl')))[2:-1]


KINDS: Dict[str, Callable[[random.Random], bytes]] = {
    f.__name__: f
    for f in (calls, arrays, sizes, bombs, archives, mutations, grammar)
}
