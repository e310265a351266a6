"""How kernels are launched: kept handles, and where Triton can be used.

A driver that does nothing stands in for a device: Triton compiles for sm_90
and hands its launcher what it would hand a real one.
"""
import re
from types import SimpleNamespace

import pytest
import torch

triton = pytest.importorskip('triton')
import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402

from mona_mm.ops import launch  # noqa: E402
from mona_mm.ops.launch import kernel, usable  # noqa: E402


@kernel('n', 'scale', num_warps=1)
def scaled(x, bias, y, scale, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.) * scale
    if bias is not None:
        value += tl.load(bias)
    tl.store(y + i, value, mask=i < n)


class OnDevice(torch.Tensor):
    """A CPU tensor that says it is on a GPU."""
    device = property(lambda self: torch.device('cuda', 0))


def tensor(*shape, dtype=torch.float32):
    return torch.zeros(*shape, dtype=dtype).as_subclass(OnDevice)


@pytest.fixture(params=[True, False], ids=['direct', 'by handle'])
def launched(monkeypatch, request):
    """What a launcher was called with: (grid, arguments)."""
    calls, compiled = [], []

    class Launcher:

        def __init__(self, src, metadata):
            compiled.append(src)

        def __call__(self, x, y, z, stream, function, packed, metadata,
                     before, after, *args):
            calls.append(((x, y, z), args))

    class Driver:
        launcher_cls = Launcher
        utils = SimpleNamespace(
            load_binary=lambda *args: (object(), object(), 8, 0, 1024),
            get_device_properties=lambda device: dict(max_shared_mem=2**16))

        def get_current_device(self):
            return 0

        def get_current_stream(self, device):
            return 0

        def get_current_target(self):
            return GPUTarget('cuda', 90, 32)

    monkeypatch.setattr(triton.runtime.driver, '_active', Driver())
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 0)
    scaled._handles.clear()
    scaled.fn.device_caches.clear()
    monkeypatch.setattr(scaled, '_direct', request.param)
    return SimpleNamespace(calls=calls, compiled=compiled)


def test_a_handle_is_kept_whatever_the_size(launched):
    """Sizes are what multi-scale training changes: 1, 16 and odd ones."""
    for n in (1, 16, 100, 2**20 + 1):  # of 32 bits each
        x, y = tensor(8), tensor(8)
        scaled((n, 2), (x, None, y, .5, n), (8, ))
        grid, args = launched.calls[-1]
        assert grid == (n, 2, 1)
        assert args[0] is x and args[2] is y
        assert args[1] is None and args[3:] == (.5, n, 8)
    assert len(launched.compiled) == len(scaled._handles) == 1


@pytest.mark.parametrize('other', [
    lambda x: (x[1:], None, x, .5, 8),  # no longer aligned to 16 bytes
    lambda x: (x, x, x, .5, 8),  # with a bias
    lambda x: (x.half().as_subclass(OnDevice), None, x, .5, 8),
    lambda x: (x, None, x, .5, 2**31),
], ids=['alignment', 'none', 'dtype', 'long'])
def test_what_compilation_saw_is_part_of_the_key(launched, other):
    x = torch.zeros(64)[-torch.zeros(64).data_ptr() % 16 // 4:]
    x = x.as_subclass(OnDevice)
    assert x.data_ptr() % 16 == 0
    for args in ((x, None, x, .5, 8), other(x)) * 2:
        scaled((1, ), args, (8, ))
    assert len(launched.compiled) == len(scaled._handles) == 2
    assert len(launched.calls) == 4


@pytest.fixture
def said(monkeypatch):
    """What is logged, with nothing remembered from before."""
    lines = []
    monkeypatch.setattr(
        launch, 'print_log', lambda line, logger: lines.append(line))
    monkeypatch.setattr(
        torch.cuda, 'get_device_capability', lambda index: (9, 0))
    caches = launch._device_fits, launch.say_once
    for cache in caches:
        cache.cache_clear()
    yield lines
    for cache in caches:
        cache.cache_clear()


GPU = SimpleNamespace(is_cuda=True, device=torch.device('cuda', 0))


def test_a_machine_that_has_everything_uses_it(said, monkeypatch, tmp_path):
    (tmp_path / 'Python.h').touch()
    monkeypatch.setattr(
        launch.sysconfig, 'get_paths', lambda: dict(include=str(tmp_path)))
    monkeypatch.setattr(launch.shutil, 'which', lambda name: name)
    assert usable(GPU) and said == []


@pytest.mark.parametrize('lacks, words', [
    (lambda m: m.setattr(launch.shutil, 'which', lambda name: None),
     'no C compiler.*install gcc'),
    (lambda m: m.setenv('CC', '/nowhere/cc'), 'no C compiler'),
    (lambda m: m.setattr(launch, 'find_spec', lambda name: None),
     'triton is not installed'),
    (lambda m: m.setattr(triton, '__version__', '3.1.0'), '3.1 is too old'),
    (lambda m: m.setattr(torch.cuda, 'get_device_capability',
                         lambda index: (7, 5)), 'capability 7.5.*need 8.0'),
    (lambda m: m.setattr(torch.version, 'hip', '6.2'), 'ROCm'),
    (lambda m: m.setattr(launch.sysconfig, 'get_paths',
                         lambda: dict(include='/nowhere')), 'no Python.h'),
], ids=['compiler', 'CC', 'triton', 'old', 'capability', 'rocm', 'headers'])
def test_what_is_lacking_is_said_once_and_is_no_crash(
        said, monkeypatch, lacks, words):
    monkeypatch.setattr(launch.shutil, 'which', lambda name: (
        None if name == '/nowhere/cc' else name))
    lacks(monkeypatch)
    assert not usable(GPU) and not usable(GPU)
    line, = said
    assert re.search(words, line), line


def test_a_cpu_uses_none():
    assert not usable(torch.zeros(1))
