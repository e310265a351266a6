"""Adapters go to a hub with a card, and come back verified."""
import base64
import json
import runpy
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from deltas import based, make_base, micro, move, save_delta, with_head
from mmengine.runner import load_checkpoint
from paths import ROOT
from run_records import record

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.cache import fetch, on_hub
from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.reports import card

CONFIG = 'configs/retinanet/retinanet_swin-l-mona_1x_voc.py'


class Hub(BaseHTTPRequestHandler):
    """A hub that keeps what is committed, as the real one's API has it."""

    files: dict = {}
    made: list = []

    def log_message(self, *args) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:  # noqa: N802
        """Make a repository, say how files go up, or take a commit."""
        body = self.rfile.read(int(self.headers['Content-Length']))
        address = f'http://{self.headers["Host"]}'
        if self.headers.get('authorization') != 'Bearer right':
            return self._answer(dict(error='no'), 401)
        if self.path == '/api/validate-yaml':
            return self._answer(dict(errors=[], warnings=[]))
        if self.path == '/api/repos/create':
            self.made.append(json.loads(body))
            return self._answer(dict(url=f'{address}/me/adapter'))
        if '/preupload/' in self.path:
            return self._answer(dict(files=[
                dict(path=f['path'], uploadMode='regular',
                     shouldIgnore=False)
                for f in json.loads(body)['files']]))
        assert self.path.startswith('/api/models/me/adapter/commit/main')
        for line in map(json.loads, body.splitlines()):
            if line['key'] == 'file':
                value = line['value']
                self.files[value['path']] = base64.b64decode(value['content'])
        self._answer(dict(commitUrl=f'{address}/me/adapter/commit/abc',
                          commitOid='abc', pullRequestUrl=None))

    def do_GET(self) -> None:  # noqa: N802
        """Hand a file out."""
        start = '/me/adapter/resolve/main/'
        content = self.files.get(self.path.removeprefix(start))
        self._answer(content, 404 if content is None else 200)

    def _answer(self, content, status: int = 200) -> None:
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub's address, set as huggingface_hub and we look for it."""
    pytest.importorskip('huggingface_hub',
                        reason='huggingface_hub is not installed')
    Hub.files, Hub.made = {}, []
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f'http://127.0.0.1:{server.server_port}'
    monkeypatch.setenv('HF_ENDPOINT', address)
    monkeypatch.setenv('HF_TOKEN', 'right')
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'torch_hub'))
    yield address
    server.shutdown()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run's delta and record, and the base under it."""
    monkeypatch.chdir(ROOT)
    work = tmp_path / 'work'
    work.mkdir()
    base = make_base(tmp_path / 'base.pth')
    model = move(with_head(based('Mona', base)))
    save_delta(model, work / 'epoch_4.pth')
    (work / 'run.json').write_text(json.dumps(record(
        CONFIG, {'pascal_voc/mAP': 0.8734}, seed=3)))
    return work, model, base


def test_adapter_goes_up_with_its_card_and_comes_back(hub, run, tmp_path,
                                                      capsys) -> None:
    work, model, base = run
    main = runpy.run_path(str(ROOT / 'tools/publish_model.py'))['main']
    main([str(work / 'epoch_4.pth'), str(tmp_path / 'mona.pth'), '--hub',
          'me/adapter', '--license', 'apache-2.0'])
    path, address = capsys.readouterr().out.split()[-2:]
    assert Hub.made[0]['name'] == 'adapter'
    assert set(Hub.files) == {path.rpartition('/')[2], 'README.md',
                              'run.json'}
    text = Hub.files['README.md'].decode()
    for told in ('license: apache-2.0', 'object-detection', CONFIG, 'seed 3',
                 '| AP50 | 87.34 |', str(base), 'Mona(', address):
        assert told in text, told

    again = with_head(micro('Mona'))
    load_checkpoint(again, address)
    want = model.state_dict()
    assert all(torch.equal(v, want[k]) for k, v in again.state_dict().items())


def test_file_that_was_changed_on_the_hub_is_refused(hub, run, tmp_path,
                                                     capsys) -> None:
    from mona_mm.checkpoint.publish import publish
    path = publish(str(run[0] / 'epoch_4.pth'), str(tmp_path / 'mona.pth'))
    address = card.upload(path, 'me/adapter', 'a card')
    name = path.rpartition('/')[2]
    Hub.files[name] = Hub.files[name][:-9] + b'xxxxxxxxx'
    with pytest.raises(CheckpointError, match='SHA-256 hash starts with'):
        read_checkpoint(address)


def test_refusing_hub_is_told_with_what_to_do(hub, run, monkeypatch) -> None:
    monkeypatch.setenv('HF_TOKEN', 'wrong')
    with pytest.raises(ConfigError, match='hf auth login'):
        card.upload(str(run[0] / 'epoch_4.pth'), 'me/adapter', 'a card')


def test_addresses_on_a_hub(monkeypatch) -> None:
    monkeypatch.delenv('HF_ENDPOINT', raising=False)
    assert on_hub('hf://me/adapter/a/b.pth') == (
        'https://huggingface.co/me/adapter/resolve/main/a/b.pth')
    assert on_hub('hf://me/adapter@v1/b.pth') == (
        'https://huggingface.co/me/adapter/resolve/v1/b.pth')
    assert on_hub('work/b.pth') == 'work/b.pth'
    with pytest.raises(CheckpointError, match='hf://USER/NAME/FILE'):
        fetch('hf://me/b.pth')
    with pytest.raises(ConfigError, match='USER/NAME'):
        card.check_name('adapter')
