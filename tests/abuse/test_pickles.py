"""Thousands of hostile files, read by child processes that they may crash."""
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import hostile_pickles
import pytest
import torch

pytestmark = pytest.mark.abuse
EACH = 350
READER = Path(__file__).with_name('read_files.py')
FATES = ('refused', 'read', 'crashed', 'hung', 'ran', 'blew up', 'other')


def fates(root, folder, files) -> dict:
    """What became of every file; a child that ends early is started again."""
    found, left = {}, list(files)
    env = dict(os.environ, PYTHONPATH=f'{root}', OMP_NUM_THREADS='1')
    while left:
        child = subprocess.run(
            [sys.executable, READER, folder / 'good.pth', *left],
            capture_output=True, text=True, cwd=folder, env=env)
        lines = dict(
            line.partition(' ')[::2] for line in child.stdout.splitlines())
        assert lines, child.stderr[-2000:]
        found.update(lines)
        last = list(lines)[-1]
        if child.returncode:  # it was reading the last one
            hung = child.returncode == -14
            found[last] = 'hung' if hung else (
                f'crashed ({child.returncode}) {child.stderr[-300:]}')
        left = [f for f in left if f.name not in found]
    return found


def test_nothing_of_them_runs_crashes_hangs_or_takes_the_memory(
        root, tmp_path):
    """2,450 files of seven kinds: refused by name, or read as plain data."""
    torch.save(dict(state_dict=dict(w=torch.ones(4)), meta={}),
               tmp_path / 'good.pth')
    (tmp_path / 'victim').mkdir()
    files = []
    for kind, make in hostile_pickles.KINDS.items():
        for seed in range(EACH):
            files.append(tmp_path / f'{kind}-{seed}.pth')
            files[-1].write_bytes(make(random.Random(f'{kind} {seed}')))
    found = fates(root, tmp_path, files)
    rows = []
    for kind in hostile_pickles.KINDS:
        own = [f for name, f in found.items() if name.startswith(f'{kind}-')]
        counts = Counter(
            next((f for f in FATES if fate.startswith(f)), 'other')
            for fate in own)
        rows.append((kind, len(own), *(counts[f] for f in FATES)))
    bad = [f'{name}: {fate}' for name, fate in found.items()
           if fate not in ('refused', 'read')]
    print()
    for row in [('kind', 'inputs', *FATES), *rows,
                ('all', *(sum(c) for c in list(zip(*rows))[1:]))]:
        print(''.join(f'{cell!s:>10}' for cell in row))
    assert not bad, '\n'.join(bad[:20])
    assert not (tmp_path / 'ran').exists()
    assert (tmp_path / 'victim').is_dir()
    assert len(found) == len(files)
