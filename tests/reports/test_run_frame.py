"""Reading run.json, and the frame of what is read."""
import json

import pytest
from run_records import VOC, record, write

from mona_mm.errors import ConfigError
from mona_mm.reports.cells import load_cells
from mona_mm.reports.frame import run_frame
from mona_mm.reports.records import (
    check_record,
    collect,
    deviations,
    with_results,
)

MONA = VOC.format('-mona')


def test_runs_are_found_at_any_depth(tmp_path):
    write(tmp_path / 'a', MONA, {'pascal_voc/mAP': .87})
    write(tmp_path / 'b/c/d', MONA, {'pascal_voc/mAP': .86}, seed=2)
    assert [run['seed'] for run in collect([tmp_path])] == [1, 2]


def test_run_that_lies_there_twice_is_one_and_the_further_copy(tmp_path):
    write(tmp_path / 'a', MONA, {'pascal_voc/mAP': .87})
    write(tmp_path / 'b', MONA, {}, done=1, finished=False)
    for folders in ([tmp_path], [tmp_path / 'b', tmp_path / 'a']):
        run, = collect(folders)
        assert run['finished'] and run['last'] == {'pascal_voc/mAP': .87}


def test_folder_without_a_run_is_named(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ConfigError, match='empty: no run.json'):
        collect([tmp_path / 'empty'])
    with pytest.raises(ConfigError, match='gone: no such folder'):
        collect([tmp_path / 'gone'])


def test_cut_off_file_is_named(tmp_path):
    path = write(tmp_path / 'a', MONA, {})
    path.write_text(path.read_text()[:40])
    with pytest.raises(ConfigError, match='a/run.json: not a readable'):
        collect([tmp_path])


@pytest.mark.parametrize('key, value, expected', [
    ('config', None, 'str'), ('finished', 'yes', 'bool'),
    ('last', [1], 'dict'), ('done', True, 'int'), ('world_size', '2', 'int'),
    ('last', {'mIoU': '48'}, 'int or float')])
def test_wrong_value_is_named_with_what_was_expected(key, value, expected):
    with pytest.raises(ConfigError, match=f'w/run.json.*expected {expected}'):
        check_record({**record(MONA, {}), key: value}, 'w/run.json')


def test_missing_key_is_named():
    content = record(MONA, {})
    del content['started']
    with pytest.raises(ConfigError, match="'started' is None"):
        check_record(content, 'run.json')


def test_nulls_unknown_keys_and_nan_do_no_harm():
    content = {**record(MONA, {'mIoU': float('nan'), 'aAcc': 1.0}),
               'memory_mib': None, 'seed': None, 'new': 1}
    run = check_record(json.loads(json.dumps(content)), 'run.json')
    assert run['last'] == {'aAcc': 1.0}
    assert not {'memory_mib', 'seed', 'new'} & set(run)


@pytest.mark.parametrize('change, kept', [
    ('randomness.seed=3', ()), ('work_dir=/home/me/x', ()),
    ('train_dataloader.dataset.dataset.datasets.0.data_root=/d', ()),
    ('val_dataloader.dataset.data_prefix.img=val/', ()),
    ('model.backbone.init_cfg.checkpoint=/home/me/swin.pth', ()),
    ('train_cfg.max_epochs=4', ('train_cfg.max_epochs=4', )),
    ('val_evaluator.ann_file=/home/me/val.json',
     ('val_evaluator.ann_file=val.json', )),
    ('randomness.deterministic=True', ('randomness.deterministic=True', ))])
def test_changes_are_deviations_unless_they_are_places(change, kept):
    assert deviations(record(MONA, {}, changed=[change])) == kept


def frame(*records):
    return run_frame(records, load_cells())


@pytest.mark.parametrize('config, key, value, metric, expected', [
    ('cascade_mask_rcnn/cascade-mask-rcnn_swin-b_3x_coco', 'coco/bbox_mAP',
     .484, 'box AP', 48.4),
    ('x', 'coco/segm_mAP', .4, 'mask AP', 40),
    ('x', 'pascal_voc/mAP', .873, 'AP50', 87.3),
    ('oriented_rcnn/oriented-rcnn_swin-b_1x_star', 'dota/mAP', .3945, 'AP50',
     39.45),
    ('oriented_rcnn/oriented-rcnn_swin-b_1x_dota', 'dota/mAP', .7844, 'mAP',
     78.44),
    ('x', 'dota/mAP', .5, 'AP50', 50), ('x', 'mIoU', 48.3, 'mIoU', 48.3),
    ('x', 'accuracy/top1', 99.5, 'Top 1 Accuracy', 99.5),
    ('x', 'accuracy/top5', 99.9, 'Top 5 Accuracy', 99.9),
    ('x', 'mine/f1', .4, 'mine/f1', .4)])
def test_known_metrics_are_named_as_in_the_paper_and_in_per_cent(
        config, key, value, metric, expected):
    row, = frame(record(f'configs/{config}.py', {key: value},
                        tuner={'type': 'Full'})).itertuples()
    assert row.metric == metric and row.last == pytest.approx(expected)


def test_frame_has_a_row_per_run_and_metric():
    runs = frame(record(MONA, {'pascal_voc/mAP': .8, 'a': 1.}),
                 record(MONA, {}, seed=2))
    assert list(zip(runs.run, runs.key)) == [
        (0, 'pascal_voc/mAP'), (0, 'a'), (1, '')]
    assert runs.cell.nunique() == 1  # of the paper


@pytest.mark.parametrize('config, tuner, task, method, variant', [
    ('/x/a_swin-t-mona-b8_b.py', 'Mona', 'a_swin-t_b', 'Mona', 'b8'),
    ('/x/a_swin-t-mona-b8_b.py', 'mona_mm.Partial', 'a_swin-t_b',
     'Partial-1', ''),
    ('/x/a_swin-t-mona-b8_b.py', None, 'a_swin-t_b', 'Mona', 'b8'),
    ('/x/a_swin-t_b.py', None, 'a_swin-t_b', 'Full', ''),
    ('/x/a_swin-t-mine_b.py', 'our.Mine', 'a_swin-t_b', 'Mine', ''),
    ('/x/my_idea.py', 'LoRA', 'my_idea', 'LoRA', ''),
    ('/x/my_idea.py', None, 'my_idea', 'unknown', '')])
def test_tuner_decides_where_the_name_says_another_method(
        config, tuner, task, method, variant):
    row, = frame(record(config, {}, tuner={'type': tuner})).itertuples()
    assert (row.task, row.method, row.variant) == (task, method, variant)


def test_result_by_hand_joins_the_logged_ones_and_is_marked():
    runs = frame(with_results(record(MONA, {'mIoU': 1.0}),
                              {'dota/mAP': .784}))
    assert list(zip(runs.key, runs.by_hand)) == [
        ('mIoU', False), ('dota/mAP', True)]


@pytest.mark.parametrize('key, value, message', [
    ('dota/map', .7, "result 'dota/map': expected one of coco/bbox_mAP"),
    ('dota/mAP', 78.44, r'dota/mAP=78.44: expected 0 to 1'),
    ('mIoU', -1, 'mIoU=-1: expected 0 to 100')])
def test_impossible_result_is_refused(key, value, message):
    with pytest.raises(ConfigError, match=message):
        with_results(record(MONA, {}), {key: value})
