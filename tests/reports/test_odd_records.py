"""Records that training did not write."""
import csv
import io
import json
import logging
import os

import pytest
from run_records import VOC, record, write

from mona_mm.engine.run_record import _read
from mona_mm.errors import ConfigError
from mona_mm.reports.logs import read_log
from mona_mm.reports.records import collect
from mona_mm.reports.results import render
from mona_mm.research.sweep.jobs import Job

HUGE = 10**400
DEEP = '[' * 200_000


def put(path, text) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text) if isinstance(text, str) else path.write_bytes(text)
    return str(path)


def odd(**changes) -> str:
    sound = record(VOC.format('-mona'), {'mAP': .5})
    return json.dumps({**sound, **changes})


@pytest.mark.parametrize('text', [
    odd(last={'mAP': HUGE}), odd(memory_mib=HUGE), odd(memory_mib=1e999),
    odd(tuner={'type': 5}), odd(done=float('nan')), odd(started='soon'),
    odd(ended='\ud800'), odd(seed=True), DEEP, '', '{', '[1]', 'null',
    b'\xff\xfe{}'], ids=range(14))
def test_a_report_names_an_odd_record(tmp_path, text):
    path = put(tmp_path / 'a/run.json', text)
    with pytest.raises(ConfigError, match=path):
        render(collect([tmp_path]))


@pytest.mark.parametrize('name', ['run.json', 'scalars.json', 'sweep.json'])
def test_a_pipe_in_the_place_of_a_record_does_not_block(tmp_path, name):
    path = tmp_path / 'x/vis_data' / name
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    read = {'run.json': lambda: collect([tmp_path]),
            'scalars.json': lambda: read_log(tmp_path),
            'sweep.json': Job('a.py', 0, path.parent).claim}[name]
    with pytest.raises(ConfigError, match=str(path)):
        read()


LINE = dict(loss=1., iter=1, epoch=1, step=1)


@pytest.mark.parametrize('lines', [
    [dict(LINE, iter=None)], [dict(LINE, iter='a')], [dict(LINE, iter=-1)],
    [dict(LINE, iter=float('nan'))], [dict(LINE, epoch=5e-324)],
    [LINE, dict(mAP=.5, step='a')], [dict(LINE, loss=HUGE)], ['text'],
], ids=range(8))
def test_curves_name_the_odd_line_of_a_log(tmp_path, lines):
    lines = [*lines, LINE]  # the last line may always be cut off
    path = put(tmp_path / '1/vis_data/scalars.json',
               '\n'.join(map(json.dumps, lines)))
    with pytest.raises(ConfigError, match=f'{path}, line {len(lines) - 1}'):
        read_log(tmp_path)


def test_a_loss_of_nan_is_no_odd_line(tmp_path):
    put(tmp_path / '1/vis_data/scalars.json',
        json.dumps(dict(LINE, loss=float('nan'))))
    assert len(read_log(tmp_path).train) == 1


@pytest.mark.parametrize('name, call', [('run.json', 'state'),
                                        ('sweep.json', 'claim')])
@pytest.mark.parametrize('text', ['[1]', '{', DEEP], ids=['list', 'cut',
                                                          'deep'])
def test_a_sweep_names_an_odd_file_of_a_run(tmp_path, name, call, text):
    path = put(tmp_path / name, text)
    with pytest.raises(ConfigError, match=path):
        getattr(Job('a.py', 0, tmp_path), call)()


@pytest.mark.parametrize('text', ['[1]', '{"sessions": "a"}', DEEP],
                         ids=['list', 'type', 'deep'])
def test_a_resumed_run_keeps_a_damaged_record_aside(tmp_path, caplog, text):
    put(tmp_path / 'run.json', text)
    with caplog.at_level(logging.WARNING):
        assert _read(str(tmp_path)) == {}
    assert (tmp_path / 'run.json.damaged').read_text() == text
    assert not (tmp_path / 'run.json').exists()


def test_a_resumed_run_goes_on_with_a_sound_record(tmp_path):
    write(tmp_path, VOC.format('-mona'), {'mAP': .5}, wall_seconds=7.)
    found = _read(str(tmp_path))
    assert (found['sessions'], found['wall_seconds']) == (1, 7.)
    assert found['started'].startswith('2026-11-01')


STRANGE = '=HYPERLINK("http://x")'


def strange(tmp_path):
    write(tmp_path / 'a', f'/x/{STRANGE}.py', {'=1+1': .5, 'mAP': .5},
          device="@cmd|' /C calc'!A0 <script>alert(1)</script>",
          changed=['+SUM(1)=3', '[x](javascript:alert(1))', '`a`|b'])
    return collect([tmp_path])


def test_no_cell_of_a_csv_is_a_formula(tmp_path):
    cells = [cell for row in csv.reader(io.StringIO(
        render(strange(tmp_path), 'csv'))) for cell in row]
    assert any(cell.startswith("'@cmd") for cell in cells)
    assert not [c for c in cells if c[:1] in tuple('=+@\t\r')]
    assert '7200.0' in cells  # numbers stay numbers


def test_markdown_shows_names_as_they_are(tmp_path):
    text = render(strange(tmp_path), 'markdown')
    assert '<script>' not in text and '&lt;script&gt;' in text
    assert '](javascript:' not in text
    rows = [line for line in text.splitlines() if line.startswith('|')]
    assert rows and all(line.endswith('|') for line in rows)
