"""Reading run.json, and what it is called by."""
import json

import pytest
from run_records import VOC, record, write

from mona_mm.errors import ConfigError
from mona_mm.ledger import collect
from mona_mm.ledger.grid import name_of
from mona_mm.ledger.metrics import named, percent
from mona_mm.ledger.naming import METHODS, parse, place
from mona_mm.ledger.reading import parse_run
from mona_mm.ledger.runs import with_results

MONA = VOC.format('-mona')


def test_runs_are_found_at_any_depth(tmp_path):
    write(tmp_path / 'a', MONA, {'pascal_voc/mAP': .87})
    write(tmp_path / 'b/c/d', MONA, {'pascal_voc/mAP': .86}, seed=2)
    assert [run.seed for run in collect([tmp_path])] == [1, 2]


def test_run_that_lies_there_twice_is_one_and_the_further_copy(tmp_path):
    write(tmp_path / 'a', MONA, {'pascal_voc/mAP': .87})
    write(tmp_path / 'b', MONA, {}, done=1, finished=False)
    for folders in ([tmp_path], [tmp_path / 'b', tmp_path / 'a']):
        run, = collect(folders)
        assert run.finished and run.last == {'pascal_voc/mAP': .87}


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
        parse_run({**record(MONA, {}), key: value}, 'w/run.json')


def test_missing_key_is_named():
    content = record(MONA, {})
    del content['started']
    with pytest.raises(ConfigError, match="'started' is None"):
        parse_run(content, 'run.json')


def test_nulls_unknown_keys_and_nan_do_no_harm():
    content = {**record(MONA, {'mIoU': float('nan'), 'aAcc': 1.0}),
               'memory_mib': None, 'seed': None, 'new': 1}
    run = parse_run(json.loads(json.dumps(content)))
    assert run.last == {'aAcc': 1.0} and run.memory_mib is None


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
    run = parse_run(record(MONA, {}, changed=[change]))
    assert run.deviations == kept
    assert '/home/me' not in json.dumps(run.record())


@pytest.mark.parametrize('values, metric, expected', [
    ({'coco/bbox_mAP': .484}, 'box AP', 48.4),
    ({'coco/segm_mAP': .4}, 'mask AP', 40),
    ({'pascal_voc/mAP': .873, 'pascal_voc/AP50': .873}, 'AP50', 87.3),
    ({'dota/mAP': .3945}, 'AP50', 39.45), ({'dota/mAP': .7844}, 'mAP', 78.44),
    ({'mIoU': 48.3, 'aAcc': 80.}, 'mIoU', 48.3),
    ({'accuracy/top1': 99.5}, 'Top 1 Accuracy', 99.5),
    ({'accuracy/top5': 99.9}, 'Top 5 Accuracy', 99.9)])
def test_every_metric_comes_in_per_cent(values, metric, expected):
    assert percent(metric, values) == pytest.approx(expected)


def test_main_metrics_come_first_and_unknown_ones_as_logged():
    assert named({'accuracy/top1': 60., 'accuracy/top5': 90.}) == {
        'Top 1 Accuracy': 60.}
    assert named({'mIoU': 40., 'mAcc': 50.}) == {'mIoU': 40.}
    assert named({'mine/f1': .4}) == {'mine/f1': .4}
    assert percent('mIoU', {'mine/f1': .4}) is None


@pytest.mark.parametrize('stem, expected', [
    ('retinanet_swin-nano-mona-b8_shapes',
     ('retinanet_swin-nano_shapes', 'Swin-nano', 'Mona', 'b8')),
    ('swin-nano-lora_shapes', ('swin-nano_shapes', 'Swin-nano', 'LoRA', '')),
    ('upernet_swin-l_160k_ade20k',
     ('upernet_swin-l_160k_ade20k', 'Swin-L', 'Full', '')),
    ('cascade-mask-rcnn_swin-b-partial_3x_coco',
     ('cascade-mask-rcnn_swin-b_3x_coco', 'Swin-B', 'Partial-1', '')),
    ('a_swin-t-mine_1x_b', ('a_swin-t_1x_b', 'Swin-T', 'mine', ''))])
def test_name_of_a_config_is_taken_apart(stem, expected):
    name = parse(f'/x/{stem}.py')
    assert (name.task, name.backbone, name.method, name.variant) == expected


def test_name_of_another_form_leaves_the_method_to_the_tuner():
    run = parse_run(record('/x/my_idea.py', {}, tuner={'type': 'LoRA'}))
    assert parse(run.config) is None
    assert (name_of(run).task, name_of(run).method) == ('my_idea', 'LoRA')
    run = parse_run(record('/x/my_idea.py', {}, tuner=None))
    assert name_of(run).method == 'unknown'


def test_tuner_of_the_command_line_wins_over_the_name():
    run = parse_run(record('/x/a_swin-t-mona-b8_b.py', {},
                           tuner={'type': 'mona_mm.Partial'}))
    name = name_of(run)
    assert (name.method, name.variant) == ('Partial-1', '')


def test_variants_stand_behind_their_method_by_number():
    rows = [('Swin-L', 'Mona', v) for v in ('b128', 'b32', '', 'k7', 'b8')]
    rows += [('Swin-L', m, '') for m in reversed(METHODS[:-1])]
    ordered = [(m, v) for _, m, v in sorted(rows, key=lambda r: place(*r))]
    assert ordered == [(m, '') for m in METHODS] + [
        ('Mona', v) for v in ('b8', 'b32', 'b128', 'k7')]


def test_result_by_hand_joins_the_logged_ones_and_is_marked():
    run = with_results(parse_run(record(MONA, {'mIoU': 1.0})),
                       {'dota/mAP': .784})
    assert run.last == {'mIoU': 1.0, 'dota/mAP': .784}
    assert run.by_hand == ['dota/mAP']


@pytest.mark.parametrize('key, value, message', [
    ('dota/map', .7, "result 'dota/map': expected one of coco/bbox_mAP"),
    ('dota/mAP', 78.44, r'dota/mAP=78.44: expected 0 to 1'),
    ('mIoU', -1, 'mIoU=-1: expected 0 to 100')])
def test_impossible_result_is_refused(key, value, message):
    with pytest.raises(ConfigError, match=message):
        with_results(parse_run(record(MONA, {})), {key: value})
