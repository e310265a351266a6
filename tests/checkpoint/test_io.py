"""Files are read safely, and refused by name."""
import hashlib
import os
import subprocess
import sys
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from mona_mm.checkpoint import read_checkpoint, unwrap
from mona_mm.errors import CheckpointError


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target, )


def test_weights_come_back_bit_for_bit(tmp_path):
    state = dict(w=torch.randn(3, 4))
    torch.save(dict(state_dict=state), tmp_path / 'a.pth')
    content = read_checkpoint(str(tmp_path / 'a.pth'))
    assert torch.equal(content['state_dict']['w'], state['w'])


def test_log_buffers_of_mmengine_are_read(tmp_path):
    hub = MessageHub.get_instance(f'buffers-{tmp_path.name}')
    hub.update_scalar('train/loss', 2.)
    hub.update_scalar('train/loss', 4.)
    torch.save(
        dict(state_dict={}, message_hub=hub.state_dict()), tmp_path / 'a.pth')
    content = read_checkpoint(str(tmp_path / 'a.pth'))
    buffer = content['message_hub']['log_scalars']['train/loss']
    assert buffer.mean() == 3.


def test_log_buffers_written_under_numpy_1_are_read(tmp_path):
    torch.save(dict(loss=np.arange(3.)), tmp_path / 'new.pth')
    with zipfile.ZipFile(tmp_path / 'new.pth') as new, zipfile.ZipFile(
            tmp_path / 'old.pth', 'w') as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(
                b'numpy._core.multiarray', b'numpy.core.multiarray'))
    content = read_checkpoint(str(tmp_path / 'old.pth'))
    assert content['loss'].tolist() == [0., 1., 2.]


def test_missing_file_is_named():
    with pytest.raises(CheckpointError, match='nowhere.pth.*does not exist'):
        read_checkpoint('nowhere.pth')


@pytest.mark.parametrize('keep', [0, 1, 100, -1])
def test_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / 'cut.pth'
    torch.save(dict(w=torch.randn(100)), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match='cut.pth'):
        read_checkpoint(str(path))


def test_flipped_bit_in_the_weights_is_found(tmp_path):
    path = tmp_path / 'flipped.pth'
    torch.save(dict(w=torch.zeros(1000)), path)
    with zipfile.ZipFile(path) as archive:
        member = next(i for i in archive.infolist()
                      if i.filename.endswith('data/0'))
    content = bytearray(path.read_bytes())
    content[member.header_offset + member.file_size // 2] ^= 16
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match='flipped.pth.*damaged'):
        read_checkpoint(str(path))


@pytest.mark.parametrize('text', [b'', b'no checkpoint', b'\x80\x04K\x01.'])
def test_file_that_is_no_checkpoint_is_refused(tmp_path, text):
    path = tmp_path / 'text.pth'
    path.write_bytes(text)
    with pytest.raises(CheckpointError, match='text.pth'):
        read_checkpoint(str(path))


def test_list_instead_of_a_dict_is_refused(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list'):
        read_checkpoint(str(tmp_path / 'list.pth'))


def test_file_that_would_run_code_is_refused_unrun(tmp_path):
    target = tmp_path / 'made'
    torch.save(dict(w=Hostile(target)), tmp_path / 'hostile.pth')
    with pytest.raises(CheckpointError, match='hostile.pth.*mkdir'):
        read_checkpoint(str(tmp_path / 'hostile.pth'))
    assert not target.exists()


def test_getattr_of_anything_else_is_refused(tmp_path):

    class Reach:

        def __reduce__(self):
            return getattr, (torch.Tensor, 'backward')

    torch.save(dict(w=Reach()), tmp_path / 'reach.pth')
    with pytest.raises(CheckpointError, match='reach.pth'):
        read_checkpoint(str(tmp_path / 'reach.pth'))


@pytest.fixture
def served(tmp_path):
    """A local web server of a checkpoint: (url, paths asked for)."""
    (tmp_path / 'web').mkdir()
    torch.save(dict(w=torch.ones(3)), tmp_path / 'web/base.pth')
    asked = []

    class Handler(SimpleHTTPRequestHandler):

        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / 'web'))

        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/', asked
        server.shutdown()


def test_url_is_downloaded_once_for_all_processes(served, tmp_path):
    url, asked = served
    code = (
        'import sys, torch\n'
        'import torch.distributed as dist\n'
        'from mona_mm.checkpoint import read_checkpoint\n'
        "dist.init_process_group('gloo')\n"
        f"assert read_checkpoint('{url}base.pth')['w'].sum() == 3\n"
        'dist.destroy_process_group()\n')
    (tmp_path / 'load.py').write_text(code)
    env = dict(os.environ, TORCH_HOME=str(tmp_path), OMP_NUM_THREADS='1')
    subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone',
         '--nproc_per_node=2', str(tmp_path / 'load.py')],
        env=env, check=True, timeout=600)
    assert asked == ['/base.pth']


def test_failed_download_says_where_to_put_the_file(
        served, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(CheckpointError, match='cannot download.*lost.pth.*'
                       'hub/checkpoints/lost.pth'):
        read_checkpoint(f'{served[0]}lost.pth')


def test_download_with_another_hash_than_its_name_says_is_refused(
        served, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    torch.save(dict(w=torch.ones(3)), tmp_path / 'web/base-0123abcd.pth')
    with pytest.raises(CheckpointError, match='hash'):
        read_checkpoint(f'{served[0]}base-0123abcd.pth')


def test_cached_file_with_another_hash_than_its_name_says_is_refused(
        tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    folder = tmp_path / 'hub/checkpoints'
    folder.mkdir(parents=True)
    torch.save(dict(w=torch.ones(3)), folder / 'base-0123abcd.pth')
    with pytest.raises(CheckpointError, match='0123abcd'):
        read_checkpoint('http://localhost:9/base-0123abcd.pth')


@pytest.mark.parametrize('ending, told', [
    ('0123abcd', True), ('{}', False), ('a{}', True), ('20220317', False),
    ('new', False)])
def test_path_with_another_hash_than_its_name_says_is_read_with_a_warning(
        ending, told, tmp_path, monkeypatch):
    """mmengine's published_keys names files by a hash that is not theirs."""
    lines = []
    monkeypatch.setattr('mona_mm.checkpoint.cache.print_log',
                        lambda line, **kwargs: lines.append(line))
    path = tmp_path / 'base.pth'
    torch.save(dict(w=torch.ones(3)), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path = path.rename(tmp_path / f'base-{ending.format(digest)}.pth')
    if digest.isdigit():
        pytest.skip('this digest looks like a date')
    assert read_checkpoint(str(path))['w'].sum() == 3
    assert [path.name in line for line in lines] == [True] * told


def test_file_without_weights_lists_what_it_holds():
    with pytest.raises(CheckpointError, match="a.pth: no weights.*'epoch'"):
        unwrap(dict(epoch=3), 'a.pth')


def test_archive_of_arrays_that_unpacks_to_more_than_it_is_worth_is_refused(
        tmp_path):
    # 64 MiB of zeros, in about 64 KiB: more than 8 times the file + 16 MiB.
    path = tmp_path / 'bomb.npz'
    np.savez_compressed(path, zeros=np.zeros(2**24, np.float32))
    assert path.stat().st_size < 2**17
    with pytest.raises(CheckpointError, match='would come out of it'):
        read_checkpoint(str(path))
