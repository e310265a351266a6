"""The page of the demo in a real browser, without a window."""
import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import urllib.request

import cv2
import numpy as np
import pytest

from mona_mm.reports.gallery import (
    Entry,
    side_by_side,
    write_page,
    write_picture,
)

BROWSER = next(filter(None, map(shutil.which, (
    'chromium', 'chromium-browser', 'google-chrome', 'chrome'))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason='needs chromium (apt-get install chromium)')


class Browser:
    """Chromium over its DevTools protocol: one page."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [BROWSER, '--headless', '--no-sandbox', '--disable-gpu',
             '--remote-debugging-port=0', '--no-first-run',
             '--autoplay-policy=no-user-gesture-required',
             f'--user-data-dir={folder}', 'about:blank'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True)
        told = folder / 'DevToolsActivePort'
        end = time.time() + 90
        while not (told.is_file() and len(told.read_text().split()) == 2):
            assert time.time() < end and self.process.poll() is None
            time.sleep(.2)
        port = int(told.read_text().split()[0])
        with urllib.request.urlopen(
                f'http://127.0.0.1:{port}/json/list') as answer:
            page = next(p for p in json.load(answer) if p['type'] == 'page')
        path = page['webSocketDebuggerUrl'].split(str(port), 1)[1]
        self.socket = socket.create_connection(('127.0.0.1', port), 90)
        self.socket.sendall(
            f'GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n'
            'Upgrade: websocket\r\nConnection: Upgrade\r\n'
            'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: '
            f'{base64.b64encode(bytes(16)).decode()}\r\n\r\n'.encode())
        while not self.read(1) == b'\r' or self.read(3) != b'\n\r\n':
            pass
        self.count = 0

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def read(self, size):
        data = b''
        while len(data) < size:
            data += self.socket.recv(size - len(data))
        return data

    def call(self, method, **params):
        """Send a command and wait for its result."""
        self.count += 1
        text = json.dumps(dict(id=self.count, method=method, params=params)
                          ).encode()
        assert len(text) < 2**16
        self.socket.sendall(
            b'\x81\xfe' + struct.pack('>H', len(text)) + bytes(4) + text)
        while True:
            answer = b''
            final = 0
            while not final:
                first, length = self.read(2)
                final = first & 128
                if length > 125:
                    kind = '>H' if length == 126 else '>Q'
                    length, = struct.unpack(
                        kind, self.read(struct.calcsize(kind)))
                answer += self.read(length)
            answer = json.loads(answer)
            if answer.get('id') == self.count:
                assert 'error' not in answer, answer
                return answer['result']

    def ask(self, script):
        """What a script in the page gives."""
        found = self.call('Runtime.evaluate', expression=script,
                          returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in found, found
        return found['result']['value']


@pytest.fixture
def browser(tmp_path):
    browser = Browser(tmp_path / 'profile')
    yield browser
    browser.close()


def test_page_shows_all_pictures_and_plays_the_video(browser, tmp_path):
    out = tmp_path / 'a & b'
    entries = []
    for name, grey in (('<first> "1"', 60), ('zweites ü', 200)):
        image = side_by_side({t: np.full((120, 160, 3), grey, np.uint8)
                              for t in ('ground truth', 'Mona', 'LoRA')})
        file = f'pictures/{len(entries)} %ü.jpg'
        write_picture(str(out / file), image)
        entries.append(Entry(name, file, image.shape[1::-1], '160 x 120',
                             [('Mona', 'dog 2'), ('LoRA', '<nothing>')]))
    film = cv2.VideoWriter(str(out / 'video.webm'),
                           cv2.VideoWriter_fourcc(*'VP80'), 10, (64, 48))
    for i in range(10):
        film.write(np.full((48, 64, 3), 20 * i, np.uint8))
    film.release()
    write_page(str(out / 'index.html'), 'Title & more', [('config', '<c>')],
               entries, 'video.webm')
    browser.call('Page.enable')
    browser.call('Emulation.setDeviceMetricsOverride', width=900, height=3000,
                 deviceScaleFactor=1, mobile=False)
    browser.call('Page.navigate', url=(out / 'index.html').as_uri())
    loaded = browser.ask('''new Promise(done => {
        const start = Date.now();
        const look = () => {
            const all = [...document.images], film = document.querySelector(
                'video');
            if (all.length && film && film.readyState > 1
                && all.every(i => i.complete) || Date.now() - start > 60000)
                done([all.map(i => [i.naturalWidth, i.naturalHeight]),
                      film && [film.videoWidth, film.videoHeight,
                               film.duration]]);
            else setTimeout(look, 100);
        };
        look();
    })''')
    assert loaded[0] == [list(entries[0].size)] * 2
    assert loaded[1][:2] == [64, 48]
    assert loaded[1][2] == pytest.approx(1, abs=.15)
    assert browser.ask('document.title') == 'Title & more'
    heads = browser.ask(
        '[...document.querySelectorAll("h2")].map(h => h.textContent)')
    assert heads == ['<first> "1"', 'zweites ü']
    # Nothing but ours is on the page, and it is no wider than the window.
    assert browser.ask('document.querySelectorAll("first, c, nothing, '
                       'script").length') == 0
    assert browser.ask('document.documentElement.scrollWidth') <= 900
    shot = base64.b64decode(browser.call('Page.captureScreenshot')['data'])
    seen = cv2.imdecode(np.frombuffer(shot, np.uint8), 1)
    box = browser.ask('(b => [b.x, b.y, b.width, b.height])('
                      'document.images[1].getBoundingClientRect())')
    x, y, width, height = map(round, box)
    assert seen[y + height // 2, x + width // 2].tolist() == pytest.approx(
        [200] * 3, abs=4)
