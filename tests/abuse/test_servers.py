"""Servers that answer at random: what arrives is the file, or nothing."""
import hashlib
import random
from collections import Counter
from functools import partial

import pytest
from hostile import Hung, at_most, ranged, reply, serve, show

from mona_mm.checkpoint import cache, receiving
from mona_mm.checkpoint.cache import fetch
from mona_mm.data.prepare.download import download
from mona_mm.errors import UserError

COUNT = 600
BODY = random.Random(0).randbytes(5000)
MD5 = hashlib.md5(BODY).hexdigest()
STATUS = ('200 OK', '206 Partial Content', '416 Range Not Satisfiable',
          '204 No Content', '304 Not Modified', '100 Continue', '999 ?',
          '-1 x', '200', '500 Oops', '302 Found', '401 Unauthorized')
HEADERS = (
    ('Content-Length', ('-1', '0', 'many', '99999999999999999999', '1e3',
                        '4999', '5001', '5000, 5000')),
    ('Content-Range', ('bytes 0-4999/5000', 'bytes */5000', 'bytes */0',
                       'bytes 9-1/3', 'bytes */' + '9' * 5000, 'cats 1-2/3',
                       'bytes 100-4999/5000', '\xff')),
    ('Transfer-Encoding', ('chunked', 'gzip', 'chunked, chunked')),
    ('Location', ('/', 'file:///etc/hosts', 'http://[', 'a.bin', '//', '\0',
                  'ftp://127.0.0.1:9/a', 'gopher://x', 'http://:0/a')),
    ('Content-Encoding', ('gzip', )),
    ('Set-Cookie', ('x' * 70_000, )))


def odd(rng: random.Random, request: str) -> bytes:
    """An answer with something wrong in it, most of the time."""
    if rng.random() < .3:
        return ranged(BODY)(request)
    body = rng.choice((BODY, BODY, BODY[:-1], BODY + b'?', b'', BODY[100:],
                       b'ff\r\n' + BODY, b'-1\r\n', b'\r\n' * 99))
    headers = {}
    for name, values in rng.sample(HEADERS, rng.randrange(4)):
        headers[name.replace('-', '_')] = rng.choice(values)
    content = reply(body, rng.choice(STATUS), rng.random() < .6, **headers)
    if rng.random() < .3:
        content = bytearray(content)
        for _ in range(rng.randrange(1, 5)):
            content[rng.randrange(min(200, len(content)))] = rng.randrange(256)
    return bytes(content)


@pytest.mark.abuse
@pytest.mark.parametrize('door', ['dataset', 'dataset with checksum',
                                  'checkpoint'])
def test_odd_answer_gives_the_file_or_an_error(
        door, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(receiving, 'TIMEOUT', 1)
    monkeypatch.setattr(cache, 'receive', partial(
        receiving.receive, progress=False))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    rng = random.Random(door)
    outcome = Counter(inputs=COUNT, refused=0, read=0, wrong=0, crashed=0,
                      hung=0)
    crashes = []
    name = f'a-{hashlib.sha256(BODY).hexdigest()[:16]}.pth'
    with serve(lambda request: odd(rng, request)) as (url, _):
        for i in range(COUNT):
            path = tmp_path / str(i) / name
            if rng.random() < .5:
                path.parent.mkdir()
                path.with_name(f'{name}.part').write_bytes(
                    BODY[:rng.choice((1, 100, 5000))])
            try:
                with at_most(20):
                    if door == 'checkpoint':
                        found = fetch(f'{url}{i}/{name}')
                    else:
                        found = path
                        download(f'{url}{i}/{name}', path,
                                 MD5 * ('checksum' in door), progress=False)
                with open(found, 'rb') as file:
                    right = file.read() == BODY
                outcome['read' if right else 'wrong'] += 1
            except UserError as error:
                outcome['refused'] += 1
                assert url in str(error) or str(tmp_path) in str(error)
                assert not path.exists()
            except Hung:
                outcome['hung'] += 1
            except Exception as error:
                outcome['crashed'] += 1
                crashes.append(repr(error))
    with capsys.disabled():
        show(door, outcome)
    assert not crashes, crashes[:3]
    assert not outcome['hung'] and outcome['read'] > COUNT / 10
    if door != 'dataset':  # without a checksum anything may be right
        assert not outcome['wrong']
