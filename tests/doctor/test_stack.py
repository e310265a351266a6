"""What the doctor says about an installation."""
import subprocess
import sys

import pytest
from paths import ROOT

from mona_mm.doctor import stack
from mona_mm.doctor.finding import NOTE, OK, WRONG

GOOD = {
    'torch': '2.11.0', 'torchvision': '0.26.0', 'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6', 'onedl-mmdetection': '3.5.1',
    'onedl-mmsegmentation': '1.4.2', 'onedl-mmpretrain': '1.3.6',
    'onedl-mmrotate': '1.2.1', 'numpy': '2.2.6',
    'opencv-python': '4.12.0.88', 'setuptools': '81.0.0', 'imaug': '0.4.3'}


def test_pinned_stack_is_sound():
    pins = dict(
        line.split('==') for line in
        (ROOT / 'requirements.txt').read_text().splitlines() if '==' in line
        and not line.startswith('#'))
    assert pins.items() >= {k: v for k, v in GOOD.items()
                            if k not in ('setuptools', 'imaug')}.items()
    assert list(stack.known_bad(GOOD)) == []


@pytest.mark.parametrize('change, named', [
    ({'mmdet': '3.3.0', 'mmcv': '2.2.0'}, 'mmdet 3.3 refuses mmcv 2.2'),
    ({'mmrotate': '1.0.0rc1', 'mmdet': '3.3.0'}, 'mmrotate refuses mmdet'),
    ({'mmengine': '0.10.7'}, 'use onedl-mmengine'),
    ({'numpy': '2.3.0'}, 'numpy before 2.3'),
    ({'opencv-python': '4.13.0.1'}, 'before 4.13'),
    ({'torch': '2.13.0+cpu'}, 'its ops do not load'),
    ({'setuptools': '82.0.1'}, 'setuptools before 82'),
    ({'mmcv-lite': '2.1.0'}, 'no compiled ops'),
])
def test_combination_that_is_known_not_to_work_is_named(change, named):
    (found, ) = stack.known_bad({**GOOD, **change})
    assert found.level == WRONG and named in found.text
    for name, version in change.items():
        assert f'{name} {version}' in found.text


def test_two_libraries_in_one_folder_are_named(monkeypatch):
    both = {**GOOD, 'mmcv': '2.1.0'}
    del both['onedl-mmrotate']
    monkeypatch.setattr(stack, 'installed', lambda: both)
    monkeypatch.setattr(stack, '_trials', lambda: iter(()))
    found = {f.subject: f for f in stack.check_stack()}
    assert found['mmcv'].level == WRONG
    assert 'overwrite each other' in found['mmcv'].text
    assert found['mmrotate'].text.startswith('not installed')
    assert found['mmdet'].level == OK


def test_library_that_breaks_is_named_by_its_last_line(monkeypatch):
    monkeypatch.setattr(stack, '_TRIES', {
        'broken': 'import nowhere_to_be_found',
        'crash': 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)',
        'fine': 'print("two\\nlines")',
        'absent': 'print("none: no matter")'})
    found = {f.subject: f for f in stack._trials()}
    assert 'nowhere_to_be_found' in found['broken'].text
    assert 'ended with -11' in found['crash'].text
    assert [found[k].level for k in ('broken', 'crash', 'fine', 'absent')
            ] == [WRONG, WRONG, OK, NOTE]


def test_installers_check_needs_nothing_but_torch_and_mmcv(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/check_ops.py'], cwd=tmp_path,
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'mmcv ops: present' in done.stdout
