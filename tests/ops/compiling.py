"""Compiling a launch for a GPU that is not there, to see what it takes."""
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from mona_mm.ops.launch import Launch


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
