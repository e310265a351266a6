"""Every family once at its full size: a training step and an evaluation.

Two or so pictures of true size, a random base, a CPU. `docs/full_size.md`
has the figures; `pytest -s -m slow tests/test_full_size.py` prints them.
"""
import math
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from full_size import CASES, call, prepare, save_base
from paths import ROOT

from mona_mm.data.prepare import PREPARERS

CONFIGS = ROOT / 'configs'
#: Of random sizes and quick to run otherwise, or nobody's benchmark.
SMALL = ('_base_', 'quickstart', 'own_data')
#: More would not leave room for anything else on a small machine.
MOST_GIB = 10


def benchmarks() -> set:
    """(folder, schedule and dataset) of every leaf of Swin."""
    return {(p.parent.name, re.sub(r'^[^_]+(_swin[^_]+)?_', '', p.stem))
            for p in CONFIGS.glob('*/*swin-*.py')
            if p.parent.name not in SMALL}


def test_every_benchmark_of_every_family_is_run_with_mona():
    run = {(*case.leaf.split('/'), case.tuner) for case in CASES}
    for folder, tail in benchmarks():
        assert any(f == folder and stem.endswith(
            f'_{tail}' if tuner == 'mona' else f'-mona_{tail}')
            for f, stem, tuner in run), f'no case for {folder}/*_{tail}.py'
    assert {case.data for case in CASES} == set(PREPARERS)


@pytest.fixture(scope='module')
def base_of(tmp_path_factory):
    """Paths of random bases, one of an architecture at a time."""
    folder, made = tmp_path_factory.mktemp('bases'), {}

    def get(arch) -> Path:
        if arch not in made:
            for path in made.values():
                path.unlink()
            made.clear()
            made[arch] = folder / f'{arch}.pth'
            save_base(arch, made[arch])
        return made[arch]

    yield get
    shutil.rmtree(folder)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """An empty folder to run in; checkpoints in it are large."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    shutil.rmtree(tmp_path)


def check_checkpoint(path) -> None:
    """Every trained parameter got a gradient, as DDP takes for granted."""
    content = torch.load(path, weights_only=False)  # our own file
    groups = content['meta']['fingerprint']['groups']
    names = [name for group in groups for name, _ in group]
    state = content['optimizer']['state']
    silent = [n for i, n in enumerate(names) if i not in state]
    assert names and not silent, f'no gradient: {silent}'
    for i, name in enumerate(names):
        assert state[i]['exp_avg'].isfinite().all(), name


def check_submission(path) -> None:
    """DOTA's server takes a text file per class; some have boxes."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert len(names) == 15
        assert any(archive.getinfo(name).file_size for name in names)


def numbers(line) -> dict:
    return {k: v for k, v in line.items()
            if k not in ('time', 'data_time', 'step')}


def row(case, steps, trained, tested) -> str:
    """A line of the table in docs/full_size.md."""
    return (f'| `{case.leaf}` | {steps[-1]["time"]:.1f} '
            f'| {tested.lines[-1]["time"]:.1f} | {trained.seconds:.0f} '
            f'| {tested.seconds:.0f} | {trained.gib:.1f} '
            f'| {tested.gib:.1f} |')


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.leaf)
def test_leaf_trains_and_its_checkpoint_scores_the_same(
        case, base_of, workspace):
    base = base_of(case.arch)
    prepare(case.data, workspace)
    trained = call('train', case, base)
    steps = [line for line in trained.lines if 'loss' in line]
    assert steps and all(math.isfinite(line['loss']) for line in steps)
    (checkpoint, ) = Path('work_dirs/train').glob('[ei][pt]*_1.pth')
    check_checkpoint(checkpoint)
    tested = call('test', case, base, checkpoint)
    if case.metric:
        assert case.metric in tested.lines[-1]
    else:
        check_submission('work_dirs/dota/Task1/Task1.zip')
    if trained.lines[-1] not in steps:  # there was a validation
        assert numbers(tested.lines[-1]) == pytest.approx(
            numbers(trained.lines[-1]), nan_ok=True)
    print('\n' + row(case, steps, trained, tested))
    assert max(trained.gib, tested.gib) < MOST_GIB
