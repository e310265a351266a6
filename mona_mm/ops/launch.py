"""How the Triton kernels of this folder are launched.

Kernels live in modules of their own, which import triton at their top; only
what :func:`usable` allows imports them. A launch through Triton's own
``kernel[grid](...)`` costs the host about 30 us, a kept compiled handle 5 to
10: a step has hundreds of launches, so :class:`Kernel` keeps them.
"""
import os
import re
import shutil
import sysconfig
from contextlib import nullcontext
from functools import lru_cache
from importlib.util import find_spec
from typing import Callable, Optional, Tuple

import torch
from mmengine.logging import print_log
from torch import Tensor

#: Handles take all parameters, constants included, from this version on.
_OLDEST = (3, 4)
#: Versions in which a handle is known to be run as :class:`Kernel` does.
_KNOWN = ((3, 6), )

@lru_cache(None)
def say_once(message: str) -> None:
    """Log a message the first time in this process."""
    print_log(message, logger='current')


def usable(x: Tensor) -> bool:
    """Whether Triton kernels can run on a tensor's device.

    On CUDA devices of compute capability 8.0 and above, if Triton is there
    and finds what it needs to build its launchers; on a CPU only in Triton's
    interpreter (``TRITON_INTERPRET=1``).
    """
    if x.is_cuda:
        return _device_fits(x.device.index)
    return x.device.type == 'cpu' and interpreted()


@lru_cache(None)
def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, as this process began."""
    return (os.environ.get('TRITON_INTERPRET', '0').lower()
            in ('1', 'true', 'on', 'yes', 'y') and _lacking(True) is None)


@lru_cache(None)
def _device_fits(index: int) -> bool:
    capability = torch.cuda.get_device_capability(index)
    if torch.version.hip is not None:
        lacking = 'they are written for CUDA, and this is ROCm'
    elif capability < (8, 0):
        lacking = ('the device has compute capability '
                   f'{".".join(map(str, capability))}, they need 8.0')
    else:
        lacking = _lacking(interpreted())
    if lacking is not None:
        say_once(f'cuda:{index}: the Triton kernels are not used: {lacking}. '
                 'The same is computed by PyTorch\'s own kernels, slower')
    return lacking is None


def _lacking(interpreter: bool) -> Optional[str]:
    """What Triton needs and this machine has not; None if all is there."""
    if find_spec('triton') is None:
        return 'the package triton is not installed'
    if _version() < _OLDEST:
        return (f'triton {".".join(map(str, _version()))} is too old, it must '
                f'be at least {".".join(map(str, _OLDEST))}')
    if interpreter:
        return None
    compilers = [os.environ['CC']] if 'CC' in os.environ else ['gcc', 'clang']
    if not any(map(shutil.which, compilers)):
        return ('Triton builds a launcher for every kernel and finds no C '
                'compiler: install gcc, or name one in the variable CC')
    headers = sysconfig.get_paths()['include']
    if not os.path.exists(os.path.join(headers, 'Python.h')):
        return ('Triton builds a launcher for every kernel and finds no '
                f'Python.h in {headers}: install Python\'s headers')
    return None


def _version() -> Tuple[int, ...]:
    import triton
    return tuple(map(int, re.findall(r'\d+', triton.__version__)[:2]))


class Kernel:
    """A jitted function, launched through compiled handles that are kept.

    A handle skips Triton's own look at the arguments, so its key holds what
    that look would find: the device, every pointer's dtype and whether it is
    aligned to 16 bytes, which integers are long, and the constants.

    Args:
        fn (Callable): The function, before ``triton.jit``. Its parameters
            are pointers and numbers first, then constants
            (``tl.constexpr``).
        sizes (Sequence[str]): Its parameters that are numbers: they come
            from an image's shape, and nothing is compiled again for them.
        num_warps (int): Warps of a program, unless a launch says another.
        num_stages (int): Stages of its loops' pipelines.
    """

    def __init__(self, fn: Callable, sizes, num_warps: int,
                 num_stages: int) -> None:
        import triton
        self.fn = triton.jit(
            fn,
            do_not_specialize=list(sizes),
            do_not_specialize_on_alignment=list(sizes))
        self.num_warps, self.num_stages = num_warps, num_stages
        self._handles: dict = {}
        # What a handle's own ``[grid](...)`` does, less 4 of its 5 us; its
        # profiling hooks are left out.
        self._direct = _version() in _KNOWN
        self._stream = lambda index: (
            triton.runtime.driver.active.get_current_stream(index))

    def __call__(self, grid: Tuple[int, ...], args: tuple, consts: tuple,
                 num_warps: Optional[int] = None) -> None:
        """Launch it on the arguments' device and current stream.

        Args:
            grid (tuple[int, ...]): How many programs.
            args (tuple): Tensors, numbers and None, in order.
            consts (tuple): Hashable constants, in order.
            num_warps (int, optional): Warps of a program.
        """
        warps = num_warps or self.num_warps
        device = args[0].device
        if device.type == 'cpu' or interpreted():
            self.fn[grid](*args, *consts)
            return
        index = device.index
        key = (index, consts, warps, *[
            (a.dtype, a.data_ptr() % 16 == 0) if isinstance(a, Tensor) else
            a.bit_length() > 31 if type(a) is int else type(a) for a in args
        ])
        handle = self._handles.get(key)
        other = index != torch.cuda.current_device()
        with torch.cuda.device(index) if other else nullcontext():
            if handle is None:
                self._handles[key] = self.fn[grid](
                    *args,
                    *consts,
                    num_warps=warps,
                    num_stages=self.num_stages)
            elif self._direct:
                handle.run(*(*grid, 1, 1)[:3], self._stream(index),
                           handle.function, handle.packed_metadata, None, None,
                           None, *args, *consts)
            else:
                handle[(*grid, 1, 1)[:3]](*args, *consts)


def kernel(*sizes: str, num_warps: int = 4,
           num_stages: int = 2) -> Callable[[Callable], Kernel]:
    """Decorate a function as a :class:`Kernel`."""
    return lambda fn: Kernel(fn, sizes, num_warps, num_stages)
