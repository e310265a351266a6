"""What is cached is what was asked for."""
import hashlib
import logging
import re
from urllib.parse import urlsplit

import pytest
import torch
from deltas import (
    based,
    make_base,
    micro,
    move,
    same_state,
    save_delta,
    with_head,
)
from hostile import SPECIAL, at_most, put_special, reply, serve, small_files

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.cache import cached, fetch
from mona_mm.checkpoint.candidates import (
    KNOWN_HOSTS,
    check_address,
)
from mona_mm.errors import CheckpointError


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """The folder of PyTorch's cache."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    monkeypatch.delenv('MONA_MM_BASE_HOSTS', raising=False)
    with at_most(120):
        yield tmp_path / 'hub/checkpoints'


def weights(tmp_path, value) -> bytes:
    torch.save(dict(w=torch.full((3, ), value)), tmp_path / 'made.pth')
    return (tmp_path / 'made.pth').read_bytes()


def files(folder):
    return sorted(p.name for p in folder.rglob('*') if not p.is_dir())


def put(hub, name, content):
    hub.mkdir(parents=True, exist_ok=True)
    (hub / name).write_bytes(content)
    return str(hub / name)


@pytest.fixture
def told(monkeypatch):
    """(level, line) of what fetching says."""
    lines = []
    monkeypatch.setattr(
        'mona_mm.checkpoint.cache.print_log',
        lambda line, level=logging.INFO, **kwargs: lines.append(
            (level, line)))
    return lines


def test_files_of_one_name_from_two_addresses_are_two(tmp_path, hub):
    pages = {f'/{i}/a.pth': weights(tmp_path, float(i)) for i in (1, 2)}
    with serve(lambda request: reply(pages[request.split()[1]])) as (
            url, asked):
        for _ in range(2):
            for i in (1, 2):
                found = read_checkpoint(f'{url}{i}/a.pth')
                assert found['w'].tolist() == [i] * 3
    assert len(asked) == 2
    assert not (hub / 'a.pth').exists()


def test_refused_file_is_not_kept(tmp_path, hub):
    good = weights(tmp_path, 1.)
    answers = [good[:-9], b'<html>', good]
    with serve(lambda request: reply(answers.pop(0))) as (url, asked):
        for _ in range(2):
            with pytest.raises(CheckpointError, match='a.pth'):
                read_checkpoint(f'{url}a.pth')
            assert files(hub) == []
        assert read_checkpoint(f'{url}a.pth')['w'].sum() == 3


@pytest.mark.parametrize('answer, words', [
    (reply(b'x', '404 Not Found'), '404'), (b'junk', 'BadStatusLine'),
    (reply(b'x' * 99)[:-1], '1 bytes early'), (reply(), 'empty')])
def test_failed_download_leaves_nothing(answer, words, hub):
    with serve(answer) as (url, _), pytest.raises(
            CheckpointError, match=words):
        fetch(f'{url}a.pth')
    assert files(hub) == []


def test_download_with_another_hash_than_its_name_says_is_not_kept(
        tmp_path, hub):
    with serve(reply(weights(tmp_path, 1.))) as (url, _), pytest.raises(
            CheckpointError, match='starts with 0123abcd'):
        fetch(f'{url}a-0123abcd.pth')
    assert files(hub) == []


def test_full_disk_is_told_and_nothing_stays(tmp_path, hub):
    answer = reply(weights(tmp_path, 1.))
    with small_files(100), serve(answer) as (url, _), pytest.raises(
            CheckpointError, match='cannot write .*File too large.*are free'):
        fetch(f'{url}a.pth')
    assert files(hub) == []


def test_file_put_there_by_hand_is_taken_if_its_hash_fits(
        tmp_path, hub, told):
    content = weights(tmp_path, 1.)
    name = f'a-x{hashlib.sha256(content).hexdigest()[:12]}.pth'.replace(
        '-x', '-')
    path = put(hub, name, content)
    assert fetch(f'http://127.0.0.1:9/{name}') == path
    assert told == [(logging.INFO,
                     f'{path} is taken for http://127.0.0.1:9/{name}')]
    put(hub, name, weights(tmp_path, 2.))
    with pytest.raises(CheckpointError, match='damaged or another file'):
        fetch(f'http://127.0.0.1:9/{name}')
    assert files(hub) == [name]  # it is the user's


@pytest.mark.parametrize('name', ['a.pth', 'a-20220317.pth'])
def test_file_put_there_by_hand_without_a_hash_is_taken_with_a_warning(
        name, tmp_path, hub, told):
    path = put(hub, name, weights(tmp_path, 1.))
    assert fetch(f'http://127.0.0.1:9/{name}') == path
    assert [level for level, _ in told] == [logging.WARNING]
    assert 'no hash' in told[0][1]


def test_damaged_file_put_there_by_hand_is_left_alone(hub):
    path = put(hub, 'a.pth', b'junk')
    with pytest.raises(CheckpointError, match='a.pth'):
        read_checkpoint('http://127.0.0.1:9/a.pth')
    assert cached('http://127.0.0.1:9/a.pth') == path


@pytest.mark.parametrize('url', [
    'http://', 'http://[::1/a.pth', 'http://h:port/a.pth', 'http://h/',
    'https://h/..', 'http://127.0.0.1:99999/a.pth', 'http://a b/c.pth',
    'http://127.0.0.1/\x00.pth', 'http://127.0.0.1:9/ä.pth',
    f'http://127.0.0.1:9/{"x" * 300}.pth', 'HTTP://127.0.0.1:9/a.pth'])
def test_malformed_address_of_a_checkpoint_is_told(url, hub):
    with pytest.raises(CheckpointError, match='no address|cannot download'):
        read_checkpoint(url)
    assert files(hub) == []


@pytest.mark.parametrize('kind', SPECIAL)
def test_special_file_as_checkpoint_is_named(kind, tmp_path):
    put_special(kind, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=f'a.pth.*but a {kind}'):
        read_checkpoint(str(tmp_path / 'a.pth'))


def test_known_hosts_are_those_of_the_table_of_weights(root):
    links = re.findall(r'https?://\S+?\.(?:pth|npz)', (
        root / 'docs/weights.md').read_text())
    assert {urlsplit(link).netloc for link in links} == set(KNOWN_HOSTS)


def test_address_that_only_a_checkpoint_names_needs_permission(monkeypatch):
    url = 'http://evil.org/a.pth'
    for other in (url, 'https://github.com@evil.org/a.pth', 'http://[/a.pth',
                  'https://github.com:8080/a.pth', 'http:///a.pth'):
        with pytest.raises(CheckpointError, match='was not fetched'):
            check_address(other)
    with pytest.raises(CheckpointError, match=re.escape(
            '--base-host evil.org (tools/train.py, tools/test.py), or '
            'MONA_MM_BASE_HOSTS=evil.org')):
        check_address(url, dict(type='Pretrained', checkpoint='here.pth'))
    check_address('/a/path')
    check_address(f'https://{KNOWN_HOSTS[0]}/a.pth')
    check_address(url, dict(type='Pretrained',
                            checkpoint='https://EVIL.org/other.pth'))
    monkeypatch.setenv('MONA_MM_BASE_HOSTS', 'one.org,Evil.org')
    check_address(url)


def test_address_that_is_cached_needs_no_permission(hub):
    put(hub, 'a.pth', b'1')
    check_address('http://evil.org/a.pth')


def test_recorded_base_is_fetched_with_permission_and_kept_if_it_is_the_one(
        tmp_path, hub, monkeypatch):
    pages = dict(base=make_base(tmp_path / 'base.pth').read_bytes())
    with serve(lambda request: reply(pages['base'])) as (url, asked):
        model = move(with_head(based('LoRA', f'{url}base.pth')))
        path = str(save_delta(model, tmp_path / 'delta.pth'))

        def load():
            fresh = with_head(micro('LoRA'))
            fresh.load_state_dict(read_checkpoint(path)['state_dict'])
            return fresh

        for file in hub.rglob('*.pth'):
            file.unlink()
        asked.clear()
        with pytest.raises(CheckpointError, match='--base-host 127.0.0.1'):
            load()
        assert asked == []
        monkeypatch.setenv('MONA_MM_BASE_HOSTS', urlsplit(url).netloc)
        right = pages['base']
        pages['base'] = make_base(tmp_path / 'b.pth', seed=1).read_bytes()
        with pytest.raises(CheckpointError, match='holds another base'):
            load()
        assert files(hub) == []
        pages['base'] = right
        assert same_state(load(), model)
        assert files(hub) == ['base.pth']
