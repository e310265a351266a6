"""Archives, damaged and forged at random: none escapes, hangs or crashes."""
import random
import zipfile
from collections import Counter

import pytest
from hostile import Hung, at_most, show, small_files
from mini import picture, write_tar, write_zip

from mona_mm.data.prepare.extract import extract
from mona_mm.errors import ConfigError

COUNT = 700
#: Numbers that headers are forged with.
ODD = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
NAMES = ('../out', '/tmp/../out', 'a/../../out', 'n' * 300, 'a\0b', '', '.',
         'a//b', 'a/./b', '\u2028', 'C:out', '\\out', 'kept/one')


def archives(folder) -> dict:
    """Sound archives by suffix, as bytes."""
    files = {'a/one.jpg': picture(), 'a/b/two.txt': b'2' * 3000,
             'three': b'', 'four': bytes(20_000)}
    found = {}
    for suffix in ('zip', 'tar', 'tgz'):
        path = folder / f'sound.{suffix}'
        (write_zip if suffix == 'zip' else write_tar)(path, files)
        found[suffix] = path.read_bytes()
    path = folder / 'deflated.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    found['deflated'] = path.read_bytes()
    return found


def forged(rng: random.Random, content: bytes) -> bytes:
    """Bytes flipped, cut, doubled or overwritten by odd numbers and names."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(content))
        if rng.random() < .5:  # near a header
            marks = [i for mark in (b'PK', b'ustar', b'a/', b'\x1f\x8b')
                     for i in [content.find(mark, at)] if i >= 0]
            at = max(0, min(marks, default=at) + rng.randrange(-157, 60))
        way = rng.randrange(6)
        if way == 0:
            content[at:at + 1] = rng.randbytes(1)
        elif way == 1:
            del content[at:]
        elif way == 2:
            content[at:at + 4] = rng.choice(ODD).to_bytes(4, 'little')
        elif way == 3:
            name = rng.choice(NAMES).encode()
            content[at:at + len(name)] = name
        elif way == 4:
            content[at:at] = content[at:at + rng.randrange(1, 600)]
        else:
            del content[at:at + rng.randrange(1, 600)]
        content = content or bytearray(b'?')
    return bytes(content)


@pytest.mark.abuse
@pytest.mark.parametrize('kind', ['zip', 'deflated', 'tar', 'tgz'])
def test_forged_archive_is_read_or_refused_and_stays_inside(
        kind, tmp_path, capsys):
    sound, rng = archives(tmp_path)[kind], random.Random(kind)
    outcome = Counter(inputs=COUNT, refused=0, read=0, crashed=0, hung=0,
                      escaped=0, deleted=0)
    crashes = []
    kept = tmp_path / 'kept'
    kept.mkdir()
    (kept / 'one').write_bytes(b'1')
    for i in range(COUNT):
        place = tmp_path / str(i)
        place.mkdir()
        path = place / f'a.{"zip" if kind == "deflated" else kind}'
        path.write_bytes(forged(rng, sound))
        before = path.read_bytes()
        try:
            with at_most(20), small_files(64 << 20):
                extract(path, place / 'root', lambda m: m, progress=False)
            outcome['read'] += 1
        except ConfigError as error:
            outcome['refused'] += 1
            assert str(place) in str(error), error
        except Hung:
            outcome['hung'] += 1
        except Exception as error:
            outcome['crashed'] += 1
            crashes.append((i, repr(error)))
        outcome['escaped'] += {p.name for p in place.iterdir()} > {
            path.name, 'root'} or len(list(tmp_path.iterdir())) != 5 + i + 1
        outcome['deleted'] += not (kept / 'one').is_file()
        assert path.read_bytes() == before
        assert not list(place.rglob('*.part'))
    with capsys.disabled():
        show(kind, outcome)
    assert not crashes, crashes[:3]
    assert not any(outcome[w] for w in ('hung', 'escaped', 'deleted'))
