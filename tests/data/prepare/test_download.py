"""Downloads end with the right file, or say why not."""
import hashlib
import os

import pytest
from hostile import (
    SPECIAL,
    at_most,
    put_special,
    ranged,
    reply,
    serve,
    small_files,
)

from mona_mm.checkpoint import receiving
from mona_mm.data.prepare.download import checksum, download
from mona_mm.errors import ConfigError

BODY = bytes(range(256)) * 16
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _soon():
    with at_most(120):
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'a.zip'


def begin(path, content):
    part = path.with_name('a.zip.part')
    part.write_bytes(content)
    return part


def fetch(answer, path, md5=''):
    """Download; return the requests."""
    with serve(answer) as (url, asked):
        download(f'{url}a.zip', path, md5, progress=False)
    return asked


def refusal(answer, path, md5=''):
    with pytest.raises(ConfigError) as error:
        fetch(answer, path, md5)
    assert str(path.parent) in str(error.value)
    assert not path.exists()
    return str(error.value)


def left(path):
    return sorted(p.name for p in path.parent.iterdir())


@pytest.mark.parametrize('md5', ['', MD5])
@pytest.mark.parametrize('there', [0, 1, 1000, len(BODY)])
def test_download_goes_on_where_it_stopped(there, md5, path):
    if there:
        begin(path, BODY[:there])
    asked = fetch(ranged(BODY), path, md5)
    assert path.read_bytes() == BODY and left(path) == ['a.zip']
    assert len(asked) == 1
    assert (f'Range: bytes={there}-' in asked[0]) == bool(there)


def test_file_that_is_there_is_not_fetched_again(tmp_path):
    path = tmp_path / 'new/a.zip'
    with serve(reply(BODY)) as (url, asked):
        for _ in range(2):
            download(f'{url}a.zip', path, MD5, progress=False)
    assert path.read_bytes() == BODY and len(asked) == 1


def test_complete_part_finishes_by_its_checksum_alone(path):
    """A server need not say how long the file is."""
    begin(path, BODY)
    asked = fetch(reply(status='416 Range Not Satisfiable'), path, MD5)
    assert path.read_bytes() == BODY and len(asked) == 1


@pytest.mark.parametrize('wrong', [BODY + b'more', b'?' * len(BODY)])
def test_wrong_part_is_fetched_anew(wrong, path):
    begin(path, wrong)
    fetch(ranged(BODY), path, MD5)
    assert path.read_bytes() == BODY and left(path) == ['a.zip']


def test_part_of_unknown_completeness_without_checksum_is_fetched_anew(path):
    begin(path, BODY + b'more')
    fetch(lambda request: reply(BODY) if 'Range' not in request else
          reply(status='416 Range Not Satisfiable'), path)
    assert path.read_bytes() == BODY


@pytest.mark.parametrize('headers', [
    {}, dict(Content_Range=f'bytes 0-{len(BODY) - 1}/{len(BODY)}')])
def test_rest_that_starts_elsewhere_is_not_appended(headers, path):
    begin(path, BODY[:1000])
    fetch(lambda request: reply(BODY) if 'Range' not in request else
          reply(BODY, '206 Partial Content', **headers), path)
    assert path.read_bytes() == BODY


def test_server_that_cannot_go_on_sends_all_again(path):
    begin(path, b'?' * 1000)
    fetch(reply(BODY), path)
    assert path.read_bytes() == BODY


def test_wrong_file_is_refused_and_not_kept(path):
    assert MD5 in refusal(reply(b'something else'), path, MD5)
    assert left(path) == []


def test_lost_connection_keeps_what_came_and_says_so(path):
    message = refusal(reply(BODY)[:-100], path)
    assert '100 bytes early' in message
    assert left(path) == ['a.zip.part']
    fetch(ranged(BODY), path)
    assert path.read_bytes() == BODY


#: Answers that are none.
MALFORMED = {
    'nothing': b'',
    'no protocol': b'hello\r\n\r\n',
    'no status': b'HTTP/1.1 \r\n\r\n',
    'long line': b'HTTP/1.1 200 ' + b'x' * 70_000,
    'many headers': b'HTTP/1.1 200 OK\r\n' + b'A: b\r\n' * 200 + b'\r\n',
    'empty': reply(),
    'no content': reply(status='204 No Content'),
    'missing': reply(BODY, '404 Not Found'),
    'bad chunks': reply(b'zz\r\nabc', length=False,
                        Transfer_Encoding='chunked'),
    'short chunk': reply(b'ff\r\nabc', length=False,
                         Transfer_Encoding='chunked'),
    'unasked part': reply(BODY, '206 Partial Content'),
    'to itself': reply(status='302 Found', Location='/a.zip'),
    'to a file': reply(status='302 Found', Location='file:///etc/hosts'),
    'to ftp': reply(status='302 Found', Location='ftp://127.0.0.1:1/a'),
    'to nowhere': reply(status='302 Found', Location='http://[/'),
}


@pytest.mark.parametrize('kind', MALFORMED)
def test_malformed_answer_is_told_and_leaves_nothing(kind, path):
    message = refusal(MALFORMED[kind], path)
    assert 'cannot download http://127.0.0.1' in message
    assert set(left(path)) <= {'a.zip.part'} and (
        kind == 'short chunk' or not left(path))


@pytest.mark.parametrize('url', [
    'http://', 'http:///a.zip', 'http://[::1/a.zip', 'http://h:port/a.zip',
    'http://127.0.0.1:99999/a.zip', 'http://127.0.0.1/', 'http://a b/c.zip',
    'http://' + 'x' * 70 + '.invalid/a.zip', 'http://127.0.0.1/\x00a.zip',
    'http://127.0.0.1/ä.zip', 'file:///etc/hosts', 'ftp://127.0.0.1/a', ''])
def test_malformed_address_is_told(url, path):
    with pytest.raises(ConfigError, match='cannot download'):
        download(url, path, progress=False)
    assert left(path) == []


def test_silent_server_is_given_up(path, monkeypatch):
    monkeypatch.setattr(receiving, 'TIMEOUT', .2)
    assert 'timed out' in refusal(lambda request: None, path)


def test_file_that_does_not_fit_is_refused_before_it_is_fetched(path):
    answer = reply(b'', length=False, Content_Length=2**60)
    # 2**60 bytes are 2**40 MiB.
    assert 'needs 1,099,511,627,776.0 MiB' in refusal(answer, path)
    assert left(path) == []


def test_endless_answer_stops_before_the_disk_is_full(path, monkeypatch):
    monkeypatch.setattr(receiving, 'free_bytes', lambda path: 1 << 20)

    def endless(request):
        yield reply(length=False)
        while True:
            yield bytes(1 << 16)

    assert 'nine tenths of the 1.0 MiB' in refusal(endless, path)
    assert left(path) == []


def test_full_disk_is_not_called_the_servers_fault(path):
    with small_files(1000):
        message = refusal(reply(BODY), path)
    assert 'cannot write' in message and 'File too large' in message
    assert 'MiB are free' in message and 'by hand' not in message


@pytest.mark.parametrize('kind', SPECIAL)
@pytest.mark.parametrize('name', ['a.zip', 'a.zip.part'])
def test_special_file_in_the_way_is_named(name, kind, path):
    put_special(kind, path.with_name(name))
    with serve(reply(BODY)) as (url, asked), pytest.raises(
            ConfigError, match=f'{name} is no regular file but a {kind}'):
        download(f'{url}a.zip', path, progress=False)
    assert not asked and os.path.lexists(path.with_name(name))


def test_checksum_of_a_pipe_is_refused(tmp_path):
    put_special('pipe', tmp_path / 'a.zip')
    with pytest.raises(ConfigError, match='but a pipe'):
        checksum(tmp_path / 'a.zip', MD5, progress=False)
