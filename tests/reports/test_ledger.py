"""The ledger that people extend."""
import csv
import io
import json
import runpy

import pytest
from paths import ROOT
from run_records import VOC, voc, write

from mona_mm.errors import ConfigError
from mona_mm.reports.cells import load_cells
from mona_mm.reports.ledger import (
    add_runs,
    find_studies,
    load_book,
    pages,
    save_book,
)
from mona_mm.reports.records import collect

LEDGER = ROOT / 'docs/ledger'
DOTA = 'configs/oriented_rcnn/oriented-rcnn_swin-b-mona_1x_dota.py'


@pytest.fixture
def book(tmp_path):
    return tmp_path / 'ledger/runs.json'


@pytest.fixture
def work(tmp_path):
    voc(tmp_path / 'work', 'mona', (.870, .874, .878), 'Mona')
    return tmp_path / 'work'


def lines(path):
    """The rows of a ledger.csv, by config and metric."""
    rows = csv.DictReader(io.StringIO(
        path.with_name('ledger.csv').read_text()))
    return {(r['config'], r['metric'], r['run_deviations']): r for r in rows}


def extend(book, work, by='A. Reader'):
    save_book(book, add_runs(load_book(book), collect([work]), by))


def test_committed_pages_are_what_metafiles_and_runs_give():
    hint = 'run: python tools/report.py --ledger docs/ledger/runs.json'
    for name, text in pages(load_book(LEDGER / 'runs.json'),
                            find_studies(LEDGER.parent)).items():
        assert (LEDGER / name).read_text() == text, hint


def test_studies_are_named_and_are_no_cells(book, tmp_path):
    runs = tmp_path / 'docs/some_study/runs'
    for seed in (1, 2):
        for rate in (1, 2):  # at once: config, tuner, start and seed agree
            write(runs / f'full_{rate}_{seed}', 'configs/a/net_vit-s_own.py',
                  {'pascal_voc/mAP': .5}, seed, tuner={'type': 'Full'})
    (tmp_path / 'docs/other').mkdir()
    studies = find_studies(tmp_path / 'docs')
    save_book(book, [], studies)
    page = book.with_name('ledger.md').read_text()
    # Four runs of two hours each.
    assert ('| [some study](../some_study/README.md) | net_vit-s_own | 4 | '
            'Full | 2026-11-01 to 2026-11-02 | 2 x NVIDIA H200 | 8.0 |'
            ) in page
    plain = pages([])
    assert page.startswith(plain['ledger.md'])
    assert book.with_name('ledger.csv').read_text() == plain['ledger.csv']


def test_every_cell_and_metric_has_a_line(book):
    save_book(book, [])
    found = list(csv.DictReader(io.StringIO(
        book.with_name('ledger.csv').read_text())))
    assert len(found) == len(load_cells())
    assert {row['status'] for row in found} == {'not run'}
    page = book.with_name('ledger.md').read_text()
    assert '| Table 1: instance segmentation, COCO | 20 | 0 |' in page


def test_runs_become_a_line_with_all_that_is_asked(book, work):
    extend(book, work)
    row = lines(book)[VOC.format('-mona'), 'AP50', '']
    # 87.0, 87.4, 87.8: mean 87.4, sample deviation .4; published 87.3.
    assert (row['ours'], row['std'], row['n'], row['difference']) == (
        '87.4', '0.4', '3', '0.1')
    assert row['seeds'] == '1; 2; 3' and row['run_by'] == 'A. Reader'
    assert row['dates'] == '2026-11-01 to 2026-11-03'
    assert (row['devices'], row['memory_mib'], row['wall_seconds']) == (
        '2 x NVIDIA H200', '5900.0', '7200.0')
    page = book.with_name('ledger.md').read_text()
    assert ('| 87.3 | the paper | 87.4 ± 0.4, n=3 | +0.1 | 1, 2, 3 | '
            '2026-11-01 to 2026-11-03 | 2 x NVIDIA H200 | 5,900 | 2.0 | '
            'A. Reader | [1] |') in page
    assert 'Pascal VOC, semantic segmentation on ADE20K | 20 | 1 |' in page


def test_difference_that_rounds_to_nothing_has_no_minus(book, tmp_path):
    voc(tmp_path / 'w', 'mona', (.8728, ), 'Mona')  # 0.02 below 87.3
    extend(book, tmp_path / 'w')
    page = book.with_name('ledger.md').read_text()
    assert '| 87.3 | the paper | 87.3 | +0.0 | 1 |' in page


def test_run_added_twice_stays_one(book, work):
    extend(book, work)
    before = book.read_text()
    extend(book, work)
    assert book.read_text() == before
    assert len(json.loads(before)['runs']) == 3


def test_further_record_of_a_run_replaces_the_earlier(book, tmp_path):
    folder = tmp_path / 'work'
    write(folder, VOC.format('-mona'), {}, done=1, finished=False)
    extend(book, folder)
    row = lines(book)[VOC.format('-mona'), 'AP50', '']
    assert (row['status'], row['ours']) == ('unfinished: 1 of 4 epochs', '')
    write(folder, VOC.format('-mona'), {'pascal_voc/mAP': .87})
    extend(book, folder)
    row = lines(book)[VOC.format('-mona'), 'AP50', '']
    assert (row['status'], row['ours'], row['n']) == ('run', '87.0', '1')


def test_changed_run_has_a_line_of_its_own(book, work, tmp_path):
    extend(book, work)
    voc(tmp_path / 'short', 'mona', (.80, ), 'Mona', world_size=1,
        started='2026-12-01T00:00:00+00:00',
        changed=['train_cfg.max_epochs=1', 'work_dir=/home/me/w'])
    extend(book, tmp_path / 'short', 'B. Reader')
    found = lines(book)
    what = 'train_cfg.max_epochs=1; processes: 1 instead of 2'
    assert found[VOC.format('-mona'), 'AP50', '']['n'] == '3'
    row = found[VOC.format('-mona'), 'AP50', what]
    assert (row['ours'], row['run_by']) == ('80.0', 'B. Reader')
    texts = [p.read_text() for p in book.parent.iterdir()]
    assert len(texts) == 3 and '/home/me' not in ''.join(texts)
    assert str(tmp_path) not in ''.join(texts)


def test_config_of_no_metafile_is_refused_before_anything_is_written(
        book, work):
    path = write(work / 'x', 'configs/quickstart/swin-nano_shapes.py', {})
    with pytest.raises(ConfigError, match=f'not runs of a cell.*{path}'):
        extend(book, work)
    assert not book.exists()


def test_tuner_on_its_tasks_config_is_a_line_that_says_whose_recipe(
        book, tmp_path):
    voc(tmp_path, '', (.86, ), 'LoRA')
    extend(book, tmp_path)
    row = lines(book)[VOC.format('-lora'), 'AP50',
                      f'recipe: that of {VOC.format("")}']
    assert (row['method'], row['ours'], row['n']) == ('LoRA', '86.0', '1')


def test_tuner_that_has_no_cell_on_its_task_is_refused(book, tmp_path):
    write(tmp_path, 'configs/upernet/upernet_swin-l_80k_loveda.py', {},
          tuner={'type': 'LoRA'})
    with pytest.raises(ConfigError, match=r'loveda\.py.*, LoRA\)'):
        extend(book, tmp_path)


def test_nameless_run_is_refused(book, work):
    with pytest.raises(ConfigError, match='by: expected the name'):
        extend(book, work, ' ')


@pytest.mark.parametrize('text, message', [
    ('{', 'not a readable ledger'), ('{"runs": []}', 'not a readable ledger'),
    ('{"format": 9, "runs": []}', 'found format 9'),
    ('{"format": 1, "runs": [{}]}', "run 0: 'config' is None")])
def test_damaged_ledger_is_named(tmp_path, text, message):
    path = tmp_path / 'runs.json'
    path.write_text(text)
    with pytest.raises(ConfigError, match=f'runs.json.*{message}'):
        load_book(path)


@pytest.fixture
def main(root):
    return runpy.run_path(str(root / 'tools/report.py'))['main']


def test_tool_adds_a_result_of_the_evaluation_server(main, book, tmp_path):
    write(tmp_path / 'w', DOTA, {}, world_size=1)
    args = [str(tmp_path / 'w'), '--ledger', str(book), '--by', 'A. Reader']
    main(args)
    key = DOTA, 'mAP', ''
    assert lines(book)[key]['status'] == 'not measured'
    main([*args, '--result', 'dota/mAP=0.7839'])
    main(args)  # the result stays
    row = lines(book)[key]
    assert (row['ours'], row['difference']) == ('78.39', '-0.05')
    assert row['status'] == 'value added after training'


def test_result_needs_a_single_run(main, book, work):
    with pytest.raises(ConfigError, match='found 3 runs, expected one'):
        main([str(work), '--ledger', str(book), '--by', 'A. Reader',
              '--result', 'dota/mAP=0.7'])


def test_tool_renders_again_without_runs(main, book, work):
    extend(book, work)
    page = book.with_name('ledger.md')
    text = page.read_text()
    page.unlink()
    main(['--ledger', str(book)])
    assert page.read_text() == text
