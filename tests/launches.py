"""Launches of kernels as they are made, and what a GPU would make of them."""
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple
from unittest import mock

import torch
from torch import Tensor

from mona_mm.ops.launch import Kernel

_POINTERS = {
    torch.float16: '*fp16',
    torch.bfloat16: '*bf16',
    torch.float32: '*fp32',
    torch.uint8: '*u8',
    torch.int32: '*i32',
    torch.int64: '*i64',
    torch.bool: '*i1',
}


class Launch(NamedTuple):
    """One launch, as :func:`observed` sees it.

    Attributes:
        kernel (Kernel): What was launched.
        grid (tuple[int, ...]): How many programs.
        types (tuple[str | None, ...]): Triton's types of the arguments; None
            for an argument that was None.
        consts (tuple): The constants.
        num_warps (int): Warps of a program.
    """
    kernel: Kernel
    grid: Tuple[int, ...]
    types: Tuple[Optional[str], ...]
    consts: tuple
    num_warps: int


@contextmanager
def observed() -> Iterator[List[Launch]]:
    """Note every launch inside the block, of all threads.

    On the meta device nothing runs: so all kernels of an operation can be
    compiled without a device.
    """
    launches: List[Launch] = []
    launch = Kernel.__call__

    def noted(kernel, grid, args, consts, num_warps=None) -> None:
        launches.append(Launch(kernel, grid, tuple(map(_type_of, args)),
                               consts, num_warps or kernel.num_warps))
        if args[0].device.type != 'meta':
            launch(kernel, grid, args, consts, num_warps)

    with mock.patch.object(Kernel, '__call__', noted):
        yield launches


def _type_of(value: Any) -> Optional[str]:
    if isinstance(value, Tensor):
        return _POINTERS[value.dtype]
    return {int: 'i32', float: 'fp32', type(None): None}[type(value)]


class Resources(NamedTuple):
    """What one program of a compiled kernel needs.

    Attributes:
        registers (int): Per thread.
        shared (int): Bytes of shared memory.
        spills (int): Bytes that a thread stores because registers are short.
    """
    registers: int
    shared: int
    spills: int


def compile_ahead(launch: Launch, capability: int) -> Resources:
    """Compile a launch for a compute capability; no device is needed.

    Args:
        launch (Launch): What to compile; pointers count as aligned.
        capability (int): 80, 90, ...
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    fn, types = launch.kernel.fn, launch.types
    names = fn.arg_names
    consts = dict(zip(names[len(types):], launch.consts))
    consts.update((n, None) for n, t in zip(names, types) if t is None)
    source = ASTSource(
        fn,
        signature={
            n: 'constexpr' if n in consts else types[i]
            for i, n in enumerate(names)
        },
        constexprs=consts,
        attrs={(i, ): [['tt.divisibility', 16]]
               for i, t in enumerate(types) if t and t.startswith('*')})
    done = triton.compile(
        source,
        target=GPUTarget('cuda', capability, 32),
        options=dict(
            num_warps=launch.num_warps, num_stages=launch.kernel.num_stages))
    report = _assemble(done.asm['ptx'])
    return Resources(
        int(re.search(r'Used (\d+) registers', report)[1]),
        done.metadata.shared,
        int(re.search(r'(\d+) bytes spill stores', report)[1]))


def _assemble(ptx: str) -> str:
    """What the assembler says of a kernel's resources."""
    from triton import knobs
    target = re.search(r'^\.target (\w+)', ptx, re.MULTILINE)[1]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'kernel.ptx')
        file.write_text(ptx)
        return subprocess.run(
            [knobs.nvidia.ptxas.path, '-v', f'--gpu-name={target}',
             '-o', os.devnull, file],
            capture_output=True, text=True, check=True).stderr
