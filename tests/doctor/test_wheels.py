"""mmcv's wheel: built with its progress shown, taken where it fits."""
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from paths import ROOT

from mona_mm.doctor import wheels
from mona_mm.errors import UserError

TAG = f'cp{sys.version_info[0]}{sys.version_info[1]}'
NAME = f'onedl_mmcv-2.3.6-{TAG}-{TAG}-linux_{{}}.whl'
MACHINE = subprocess.run(['uname', '-m'], text=True, capture_output=True,
                         check=True).stdout.strip()


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with a wheel of this stack, as build_wheels leaves it."""
    version = torch.__version__.split('+')[0]
    folder = tmp_path / 'wheels' / f'torch{version}-cpu'
    folder.mkdir(parents=True)
    sums = []
    for name in (NAME.format(MACHINE), NAME.format('other')):
        (folder / name).write_bytes(name.encode())
        sums.append(f'{hashlib.sha256(name.encode()).hexdigest()}  {name}\n')
    (folder / wheels.SUMS).write_text(''.join(sums))
    return folder


@pytest.fixture
def address(shelf: Path):
    """The same folder on a server."""
    handler = functools.partial(
        SimpleHTTPRequestHandler, directory=str(shelf.parent))
    server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.mark.parametrize('by_server', [False, True])
def test_wheel_of_this_stack_is_taken(shelf, address, tmp_path,
                                      by_server) -> None:
    source = address if by_server else str(shelf.parent)
    found = wheels.fetch('onedl-mmcv==2.3.6', source, tmp_path)
    assert found == tmp_path / NAME.format(MACHINE)
    assert found.read_text() == found.name


def test_server_without_folders_serves_too(shelf, address, tmp_path) -> None:
    for path in list(shelf.iterdir()):
        path.rename(shelf.parent / f'{shelf.name}.{path.name}')
    found = wheels.fetch('onedl-mmcv==2.3.6', address, tmp_path)
    assert found.read_text() == found.name == NAME.format(MACHINE)


def test_wheel_of_another_hash_is_not_taken(shelf, address, tmp_path) -> None:
    (shelf / NAME.format(MACHINE)).write_bytes(b'something else')
    with pytest.raises(UserError, match='its sha256 is'):
        wheels.fetch('onedl-mmcv==2.3.6', address, tmp_path)
    assert not (tmp_path / NAME.format(MACHINE)).exists()


@pytest.mark.parametrize('requirement, told', [
    ('onedl-mmcv==9.9.9', 'no wheel onedl_mmcv-9.9.9'),
    ('onedl-mmcv==2.3.6', 'cannot be read')])
def test_what_is_not_there_is_told(shelf, tmp_path, requirement,
                                   told) -> None:
    source = shelf.parent if '9.9.9' in requirement else tmp_path / 'nowhere'
    with pytest.raises(UserError, match=re.escape(told)):
        wheels.fetch(requirement, str(source), tmp_path)


def test_build_shows_objects_and_leaves_a_wheel_with_its_hash(
        tmp_path, capsys, monkeypatch) -> None:
    """A small extension of three objects, by torch's build as mmcv's is.

    In an environment that is not activated, on a machine without a ninja of
    its own.
    """
    tools = tmp_path / 'bin'
    tools.mkdir()
    for tool in sorted({t for p in os.get_exec_path() if os.path.isdir(p)
                        for t in Path(p).iterdir()}):
        if tool.name != 'ninja' and not (tools / tool.name).exists():
            (tools / tool.name).symlink_to(tool)
    monkeypatch.setenv('PATH', str(tools))
    assert shutil.which('c++') and not shutil.which('ninja')
    source = tmp_path / 'small'
    source.mkdir()
    for i in range(3):
        (source / f'f{i}.cpp').write_text(f'int f{i}() {{ return {i}; }}\n')
    (source / 'setup.py').write_text(
        'from setuptools import setup\n'
        'from torch.utils.cpp_extension import BuildExtension, CppExtension\n'
        'setup(name="small", version="1.0", ext_modules=[CppExtension(\n'
        '    "small", [f"f{i}.cpp" for i in range(3)])],\n'
        '      cmdclass=dict(build_ext=BuildExtension))\n')
    made = wheels.build(str(source), tmp_path / 'out')
    assert re.search(r"mmcv's ops: 100%.*3/3", capsys.readouterr().err)
    line = (made.parent / wheels.SUMS).read_text().split()
    assert line == [hashlib.sha256(made.read_bytes()).hexdigest(), made.name]


def test_build_that_fails_tells_the_errors(tmp_path) -> None:
    (tmp_path / 'setup.py').write_text('raise OSError("no compiler")')
    with pytest.raises(UserError, match='no compiler') as caught:
        wheels.build(str(tmp_path), tmp_path / 'out')
    assert 'build.log' in str(caught.value)


def test_tool_names_an_odd_architecture() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / 'tools/build_wheels.py', 'out',
         '--cuda-archs', 'sm_80'], text=True, capture_output=True)
    assert done.returncode and 'sm_80 is no architecture' in done.stderr
