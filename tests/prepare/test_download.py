"""Downloads happen on request, go on where they stopped, and are checked."""
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from mona_mm.errors import ConfigError
from mona_mm.prepare.download import download

DATA = bytes(range(256)) * 40
MD5 = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def server():
    """{ranges, asked}: whether it serves ranges, and what it was asked."""
    state = dict(ranges=True, asked=[])

    class Handler(BaseHTTPRequestHandler):

        def do_GET(self):
            wanted = self.headers.get('Range') if state['ranges'] else None
            start = int(wanted[6:-1]) if wanted else 0
            state['asked'].append(start)
            found = self.path == '/a.zip'
            self.send_response((206 if wanted else 200) if found else 404)
            self.send_header('Content-Length', str(len(DATA) - start))
            self.end_headers()
            if found:
                self.wfile.write(DATA[start:])

        def log_message(self, *args):
            pass

    service = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    Thread(target=service.serve_forever, daemon=True).start()
    state['url'] = f'http://127.0.0.1:{service.server_port}/'
    yield state
    service.shutdown()


def test_file_arrives_once(server, tmp_path):
    path = tmp_path / 'new/a.zip'
    for _ in range(2):
        download(server['url'] + 'a.zip', path, MD5, progress=False)
    assert path.read_bytes() == DATA
    assert server['asked'] == [0]


@pytest.mark.parametrize('ranges, asked', [(True, 1000), (False, 0)])
def test_interrupted_download_goes_on_or_begins_anew(
        ranges, asked, server, tmp_path):
    server['ranges'] = ranges
    (tmp_path / 'a.zip.part').write_bytes(DATA[:1000])
    download(server['url'] + 'a.zip', tmp_path / 'a.zip', MD5, False)
    assert (tmp_path / 'a.zip').read_bytes() == DATA
    assert server['asked'] == [asked]


def test_damaged_download_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(ConfigError, match=MD5):
        download(server['url'] + 'a.zip', tmp_path / 'a.zip', '0' * 32, False)
    assert not list(tmp_path.iterdir())


def test_failed_download_says_where_to_put_the_file(server, tmp_path):
    with pytest.raises(ConfigError, match=r'cannot download.*lost.zip'):
        download(server['url'] + 'lost.zip', tmp_path / 'lost.zip', '', False)
    assert not (tmp_path / 'lost.zip').exists()
