"""Triton's kernels, run by its interpreter in a process of their own.

Whether a function is interpreted is decided when it is decorated, and what
runs on a CPU without the interpreter must not change with it.
"""
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parents[1].glob('*/interpreted_*.py'))


@pytest.mark.parametrize('file', FILES, ids=[f.stem for f in FILES])
def test_kernels_compute_what_their_torch_forms_do(file, root, request):
    """The interpreter is slow: of their tests, those of this run's marks."""
    marks = request.config.getoption('markexpr')
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-x', '-m', marks, file],
        cwd=root, env={**os.environ, 'TRITON_INTERPRET': '1'},
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert ' passed' in done.stdout
