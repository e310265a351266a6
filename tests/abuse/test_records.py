"""Records, logs and notes of sweeps, broken in many ways."""
import json
import random
from collections import Counter

import pytest
from run_records import VOC, record

from mona_mm.errors import UserError
from mona_mm.reports.curves import collect as curves
from mona_mm.reports.records import collect
from mona_mm.reports.results import render
from mona_mm.research.sweep.jobs import Job

COUNT = 800
ODD = [None, True, -1, 0, 10**19, 10**400, 5e-324, float('nan'),
       float('inf'), '', 'a' * 5000, '=1+1', '\ud800', '\0', [], {}, [[]],
       {'a': {'b': 1}}]


def broken(rng: random.Random, content) -> bytes:
    """JSON with one value replaced, dropped or added, or bytes damaged."""
    content = json.loads(json.dumps(content))
    key = rng.choice(sorted(content))
    way = rng.randrange(6)
    if way == 0:
        del content[key]
    elif way == 1:
        content[rng.choice(['last', 'new', 'by_hand'])] = rng.choice(ODD)
    else:
        content[key] = rng.choice(ODD)
    text = json.dumps(content).encode()
    if way == 4:
        text = text[:rng.randrange(len(text))]
    if way == 5:
        at = rng.randrange(len(text))
        text = text[:at] + rng.randbytes(3) + text[at + 1:]
    return text


def reports(folder):
    for form in ('markdown', 'csv', 'latex'):
        render(collect([folder]), form)


RECORD = record(VOC.format('-mona'), {'pascal_voc/mAP': .8})
LINES = [dict(loss=1., lr=.1, iter=i, epoch=1, step=i) for i in (1, 2)]
DOORS = {
    'run.json, report': ('run.json', RECORD, reports),
    'scalars.json, curves': (
        'vis_data/scalars.json', LINES[0],
        lambda folder: curves([str(folder)], ['loss'])),
    'run.json, sweep': (
        'run.json', RECORD, lambda folder: Job('a.py', 0, folder).state()),
    'sweep.json, sweep': (
        'sweep.json',
        dict(config='a.py', seed=0, gpus=1, options=[], extra=[]),
        lambda folder: Job('a.py', 0, folder).claim()),
}


@pytest.mark.abuse
@pytest.mark.parametrize('door', DOORS)
def test_a_broken_record_is_read_or_refused_by_name(tmp_path, door, capsys):
    name, sound, use = DOORS[door]
    rng, outcome = random.Random(door), Counter(
        inputs=COUNT, refused=0, read=0, crashed=0)
    crashes = []
    good = tmp_path / 'sound' / name
    good.parent.mkdir(parents=True)
    good.write_text('\n'.join(json.dumps(line) for line in (
        LINES if name.endswith('scalars.json') else [sound])))
    use(tmp_path / 'sound')  # is read, or what follows proves nothing
    for i in range(COUNT):
        folder = tmp_path / str(i)
        path = folder / name
        path.parent.mkdir(parents=True)
        text = broken(rng, sound)
        if name.endswith('scalars.json'):  # the last line may be cut off
            text += b'\n' + json.dumps(LINES[1]).encode()
        path.write_bytes(text)
        try:
            use(folder)
            outcome['read'] += 1
        except UserError as error:
            outcome['refused'] += 1
            assert str(folder) in str(error), error
        except Exception as error:
            outcome['crashed'] += 1
            crashes.append((text, repr(error)))
    with capsys.disabled():
        print(f'\n{door}: ' + ', '.join(
            f'{n} {what}' for what, n in outcome.items()))
    assert not crashes, crashes[:3]
