"""Archives that are hostile, broken or too large are refused by name."""
import gzip
import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib

import pytest
from hostile import SPECIAL, at_most, put_special, small_files
from mini import MINI, write_tar, write_zip
from PIL import Image

from mona_mm.data.prepare import build
from mona_mm.data.prepare.extract import extract
from mona_mm.data.prepare.pictures import picture_size
from mona_mm.errors import ConfigError
from mona_mm.text import machine_name

PACKED = ('zip', 'tar', 'tgz')


@pytest.fixture(autouse=True)
def _soon():
    with at_most(120):
        yield


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'root'


def pack(path, files):
    (write_zip if path.suffix == '.zip' else write_tar)(path, files)
    return path


def refusal(archive, root):
    with pytest.raises(ConfigError) as error:
        extract(archive, root, lambda member: member, progress=False)
    return str(error.value)


def written(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob('*')
                  if not p.is_dir())


@pytest.mark.parametrize('suffix', PACKED)
def test_full_disk_is_not_called_damage(suffix, tmp_path, root):
    archive = pack(tmp_path / f'a.{suffix}', {
        'first': b'1', 'big': bytes(1 << 20)})
    with small_files(1 << 16):
        message = refusal(archive, root)
    assert f'cannot write {root}/big: File too large' in message
    assert 'damaged' not in message and 'again' not in message
    assert written(root) == ['first']


@pytest.mark.parametrize('suffix', PACKED)
def test_too_full_a_disk_is_told_with_what_is_needed(
        suffix, tmp_path, root, monkeypatch):
    archive = pack(tmp_path / f'a.{suffix}', {
        'first': b'1', 'big': bytes(3 << 20)})
    monkeypatch.setattr('mona_mm.data.prepare.extract.free_bytes',
                        lambda path: 2 << 20)
    assert f'needs 3.0 MiB in {root}, where 2.0 MiB are free' in refusal(
        archive, root)
    # A compressed archive lists its members only while it is unpacked.
    assert written(root) == (['first'] if suffix == 'tgz' else [])


def test_what_is_there_already_needs_no_room(tmp_path, root, monkeypatch):
    archive = pack(tmp_path / 'a.zip', {'big': bytes(1 << 20), 'b': b'2'})
    pack(root / 'big', {}).write_bytes(bytes(1 << 20))
    monkeypatch.setattr('mona_mm.data.prepare.extract.free_bytes',
                        lambda path: 1 << 16)
    assert extract(archive, root, lambda m: m, progress=False) == 1


@pytest.mark.parametrize('suffix', PACKED)
def test_bomb_stops_at_a_bound_even_in_members_that_are_left_out(
        suffix, tmp_path, root, monkeypatch):
    archive = pack(tmp_path / f'a.{suffix}', {
        f'{i}': bytes(1 << 20) for i in range(8)})
    monkeypatch.setattr('mona_mm.data.prepare.extract.MOST', 4 << 20)
    monkeypatch.setattr('mona_mm.data.prepare.extract.MOST_TIMES', 1 / 16)
    with pytest.raises(ConfigError, match='more than 4.0 MiB: do not use'):
        extract(archive, root, lambda member: None, progress=False)


def header(name, size, kind=tarfile.REGTYPE, form=tarfile.GNU_FORMAT):
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(form)


def test_long_note_in_a_tar_is_not_read_into_memory(tmp_path, root):
    archive = tmp_path / 'a.tgz'
    with gzip.open(archive, 'wb') as file:
        file.write(header('pax', 1 << 40, tarfile.XHDTYPE))
        file.write(bytes(1 << 22))
    assert f'claims {1 << 40} bytes' in refusal(archive, root)


@pytest.mark.parametrize('form', ['header', 'pax'])
def test_negative_size_in_a_tar_does_not_go_in_circles(form, tmp_path, root):
    second = header('one', -512)
    if form == 'pax':  # three blocks: the next header is where it begins
        info = tarfile.TarInfo('one')
        info.pax_headers = dict(size='-1536')
        second = info.tobuf(tarfile.PAX_FORMAT)
    (tmp_path / 'a.tar').write_bytes(
        header('zero', 0) + second + bytes(4096))
    assert re.search('claims -512 bytes|has a negative size.*damaged',
                     refusal(tmp_path / 'a.tar', root))


def test_broken_header_is_not_taken_for_the_end(tmp_path, root):
    archive = pack(tmp_path / 'a.tar', {'one': b'1', 'two': b'2'})
    content = bytearray(archive.read_bytes())
    content[1024 + 5] ^= 1  # of the second header: its checksum is wrong
    archive.write_bytes(content)
    assert 'a header is broken' in refusal(archive, root)
    assert not root.exists()


def patched_zip(path, offset, value):
    """A zip whose only member has another flag or method, in both headers.

    They lie at 6 and 8 in the local header, at 8 and 10 in the central one.
    """
    write_zip(path, {'one': b'1' * 100})
    content = bytearray(path.read_bytes())
    for at in (offset, content.index(b'PK\x01\x02') + offset + 2):
        content[at:at + 2] = value.to_bytes(2, 'little')
    path.write_bytes(content)
    return path


def test_encrypted_zip_is_told(tmp_path, root):
    archive = patched_zip(tmp_path / 'a.zip', 6, 1)
    assert "is encrypted ('one')" in refusal(archive, root)


@pytest.mark.parametrize('method', [1, 93, 95, 99])
def test_unknown_compression_is_told(method, tmp_path, root):
    archive = patched_zip(tmp_path / 'a.zip', 8, method)
    message = refusal(archive, root)
    assert 'a.zip is packed in a way that is not known' in message
    assert 'damaged' not in message and written(root) == []


@pytest.mark.parametrize('method', [8, 12, 14])  # deflate, bzip2, lzma
def test_content_that_is_not_packed_as_said_is_told(method, tmp_path, root):
    archive = patched_zip(tmp_path / 'a.zip', 8, method)
    assert 'damaged; fetch it again' in refusal(archive, root)
    assert written(root) == []


@pytest.mark.parametrize('kind', SPECIAL)
def test_special_file_as_archive_is_named(kind, tmp_path, root):
    put_special(kind, tmp_path / 'a.zip')
    assert f'a.zip is no regular file but a {kind}' in refusal(
        tmp_path / 'a.zip', root)


@pytest.mark.parametrize('kind', SPECIAL)
def test_special_file_in_the_place_of_a_member_is_named(kind, tmp_path, root):
    root.mkdir()
    put_special(kind, root / 'one')
    if kind == 'device':
        # A link to a device leads out of the folder.
        assert 'leads out' in refusal(
            pack(tmp_path / 'a.zip', {'one': b'1'}), root)
    else:
        assert f'{root}/one is no regular file but a {kind}' in refusal(
            pack(tmp_path / 'a.zip', {'one': b'1'}), root)


@pytest.mark.parametrize('name', ['flowers102', 'oxfordpets'])
def test_pipe_in_the_source_folder_is_named(name, tmp_path):
    preparer = build(name, out=str(tmp_path / 'data'), progress=False,
                     source=str(tmp_path))
    MINI[name](tmp_path)
    (tmp_path / preparer.archives[-1].name).unlink()
    put_special('pipe', tmp_path / preparer.archives[-1].name)
    preparer.genuine = False  # no checksums
    with pytest.raises(ConfigError, match='but a pipe'):
        preparer.prepare()


@pytest.mark.parametrize('suffix', PACKED)
@pytest.mark.parametrize('name, words', [
    ('n' * 300, 'cannot write .*File name too long'),
    (f'{"d" * 250}/' * 20, 'cannot write .*File name too long'),
    ('d/' * 1500, '1501 folders deep')])
def test_over_long_name_is_told(name, words, suffix, tmp_path, root):
    archive = pack(tmp_path / f'a.{suffix}', {f'{name}n': b'1'})
    assert re.search(words, refusal(archive, root))


def test_over_long_folder_is_told():
    preparer = build('voc', source='x' * 5000, progress=False)
    with pytest.raises(ConfigError, match='not found in x'):
        preparer.prepare()
    assert 'does not exist' in build('voc', out='x' * 5000).verify()[0]


@pytest.mark.parametrize('suffix', PACKED)
def test_member_that_is_a_file_and_a_folder_is_told(suffix, tmp_path, root):
    archive = pack(tmp_path / f'a.{suffix}', {'a': b'1', 'a/b': b'2'})
    assert f'cannot write {root}/a/b' in refusal(archive, root)


def test_name_with_a_null_is_refused(tmp_path, root):
    info = tarfile.TarInfo('x')
    info.pax_headers = dict(path='one\0two')
    (tmp_path / 'a.tar').write_bytes(
        info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    assert "'one\\x00two'" in refusal(tmp_path / 'a.tar', root)


def test_next_run_removes_what_a_killed_one_left(tmp_path):
    """And nothing of a run that is alive, or of anybody else."""
    MINI['voc'](tmp_path)
    preparer = build('voc', out=str(tmp_path / 'data'), progress=False,
                     source=str(tmp_path), expected={
                         'VOC2007/trainval': None})
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    folder = preparer.root / 'VOC2007/JPEGImages'
    folder.mkdir(parents=True)
    here = machine_name()
    kept = [f'a.jpg.{here}.{os.getpid()}.part', 'b.part', 'c.jpg.part',
            f'd.jpg.elsewhere.{dead.pid}.part']
    for name in [*kept, f'e.jpg.{here}.{dead.pid}.part']:
        (folder / name).write_bytes(b'')
    preparer.prepare()
    assert sorted(p.name for p in folder.glob('*.part')) == kept


def test_failed_member_leaves_no_partial_file(tmp_path, root):
    archive = pack(tmp_path / 'a.zip', {'one': b'1' * 1000})
    content = bytearray(archive.read_bytes())
    content[100] ^= 1
    archive.write_bytes(content)
    assert 'CRC' in refusal(archive, root)
    assert written(root) == []


def test_picture_that_claims_to_be_gigantic_is_refused(tmp_path):
    """Its patches alone would fill the memory."""
    stream = io.BytesIO()
    Image.new('L', (1, 1)).save(stream, 'png')
    content = bytearray(stream.getvalue())
    content[16:24] = (2**31 - 1).to_bytes(4, 'big') * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, 'big')
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(ConfigError, match='2,147,483,647 x 2,147,483,647'):
        picture_size(tmp_path / 'a.png')


@pytest.mark.parametrize('content', [
    b'[' * 100_000, b'\xff\xfe', b'{}', b'[]', b'{"images": 3}'])
def test_broken_annotations_of_coco_are_named(content, tmp_path):
    preparer = build('coco', out=str(tmp_path), progress=False)
    for split in ('train2017', 'val2017'):
        path = preparer.root / f'annotations/instances_{split}.json'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    problems = preparer.verify()
    assert [f'instances_{s}2017.json' in p for s, p in zip(
        ('train', 'val'), problems)] == [True, True]


def test_zip_that_overlaps_itself_is_refused(tmp_path, root):
    """One run of zeros, named by a thousand members."""
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('0', bytes(1 << 20))
        first = file.infolist()[0]
        for i in range(1, 1000):
            again = zipfile.ZipInfo(str(i))
            for key in ('compress_type', 'CRC', 'compress_size', 'file_size',
                        'header_offset', 'flag_bits'):
                setattr(again, key, getattr(first, key))
            file.filelist.append(again)
            file.NameToInfo[str(i)] = again
    assert 'damaged' in refusal(path, root)
