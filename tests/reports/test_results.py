"""Tables of runs: by hand what they have to say."""
import csv
import io
import re
import runpy
import subprocess
import sys

import pytest
from run_records import VOC, voc, write

from mona_mm.errors import ConfigError
from mona_mm.reports.records import collect
from mona_mm.reports.results import render

SHAPES = 'configs/quickstart/{}_swin-nano{}_shapes.py'


def rows_of(markdown, title):
    """The rows of one table, by their first column."""
    section = markdown.split(f'## {title}')[1].split('\n## ')[0]
    lines = [[e.strip() for e in line.strip('|').split(' | ')]
             for line in section.splitlines() if line.startswith('| ')]
    return {line[0]: dict(zip(lines[0], line)) for line in lines}


@pytest.fixture
def seeds(tmp_path):
    """Mona 87.0, 87.4, 87.8 and Full 83.5, 83.9 on VOC."""
    voc(tmp_path, 'mona', (.870, .874, .878), 'Mona')
    voc(tmp_path, '', (.835, .839), 'Full')
    return collect([tmp_path])


OURS, THEIRS = (f'Pascal VOC 2007+2012, AP50, {w}'
                for w in ('ours', 'published'))


def test_paper_table_has_published_and_ours_with_the_spread(seeds):
    rows = rows_of(render(seeds), 'Table 2')
    # Mean and sample deviation: (-.4, 0, .4) -> sqrt(.32 / 2) = .4;
    # (-.2, .2) -> sqrt(.08 / 1) = .28; 87.4 - 83.7 = 3.7.
    assert rows['Mona'][OURS] == '**87.4 ± 0.4, n=3 (+3.7)**'
    assert rows['Full'][OURS] == '83.7 ± 0.3, n=2'
    assert rows['Mona'][THEIRS] == '**87.3 (+3.6)**'
    assert rows['Full'][THEIRS] == '83.7'
    assert rows['LoRA'][THEIRS] == '85.4 (+1.7)'
    assert rows['LoRA'][OURS] == 'not run'
    assert (rows['Mona']['trained'], rows['Mona']['share']) == (
        '5,267,712', '2.63 %')


def test_methods_stand_in_the_papers_order(seeds):
    rows = rows_of(render(seeds), 'Table 2')
    assert [r for r in rows if r not in ('method', '---')] == [
        'Full', 'Fixed', 'BitFit', 'NormTuning', 'Partial-1', 'Adapter',
        'LoRA', 'AdaptFormer', 'LoRand', 'Mona']


def test_table_shows_only_tasks_that_were_run(seeds):
    text = render(seeds)
    assert 'ADE20K, mIoU' not in text and 'Table 1' not in text
    # Mona on VOC is also a row of tables 4 and 5 and of the ablation.
    for title in ('Table 4', 'Table 5', 'Structure ablation'):
        assert f'## {title}' in text


def test_each_backbone_is_compared_with_its_own_full(tmp_path):
    write(tmp_path / 'a', 'configs/retinanet/retinanet_swin-t-mona_1x_voc.py',
          {'pascal_voc/mAP': .83})
    rows = rows_of(render(collect([tmp_path])), 'Table 5')
    assert rows['Mona, Swin-T'][THEIRS] == '83.5 (+3.4)'  # 83.5 - 80.1
    assert rows['Mona, Swin-B'][THEIRS] == '86.5 (+4.9)'  # 86.5 - 81.6


def test_changed_run_is_marked_and_compared_with_its_like(tmp_path):
    voc(tmp_path / 'plain', 'mona', (.870, ), 'Mona')
    voc(tmp_path / 'plain', '', (.830, ), 'Full')
    changed = dict(changed=['train_cfg.max_epochs=1'],
                   started='2026-12-01T00:00:00+00:00')
    voc(tmp_path / 'short', 'mona', (.800, ), 'Mona', **changed)
    voc(tmp_path / 'short', 'lora', (.700, ), 'LoRA', **changed)
    text = render(collect([tmp_path]))
    rows = rows_of(text, 'Table 2')
    assert rows['Mona'][OURS] == '**87.0 (+4.0); 80.0 [1]**'
    assert rows['LoRA'][OURS] == '70.0 [1]'  # there is no Full like it
    assert '[1] changed: train_cfg.max_epochs=1' in text


def test_other_number_of_processes_is_a_deviation(tmp_path):
    voc(tmp_path, 'mona', (.870, ), 'Mona', world_size=1)
    text = render(collect([tmp_path]))
    assert 'changed in all runs: processes: 1 instead of 2' in text


def test_unfinished_run_is_named_and_not_counted(tmp_path):
    voc(tmp_path, 'mona', (.870, ), 'Mona')
    write(tmp_path / 'half', VOC.format('-mona'), {'pascal_voc/mAP': .5},
          seed=9, done=2, finished=False)
    text = render(collect([tmp_path]))
    assert rows_of(text, 'Table 2')['Mona'][OURS] == '87.0'
    assert 'retinanet_swin-l-mona_1x_voc.py, seed 9: 2 of 4 epochs' in text


def test_unfinished_run_of_any_config_is_not_counted_either(study, tmp_path):
    write(tmp_path / 'half', SHAPES.format('upernet', '-mona'), {'mIoU': 99.},
          seed=9, done=1, finished=False)
    text = render(collect([tmp_path]))
    row = rows_of(text, 'Runs by method and task (')['Mona']
    assert row['upernet_swin-nano_shapes, mIoU'] == '33.0 ± 0.0 (+3.0)'
    assert 'upernet_swin-nano-mona_shapes.py, seed 9: 1 of 4 epochs' in text


def test_finished_run_without_the_metric_is_not_measured(tmp_path):
    write(tmp_path / 'a',
          'configs/oriented_rcnn/oriented-rcnn_swin-b-mona_1x_dota.py', {},
          world_size=1)
    rows = rows_of(render(collect([tmp_path])), 'DOTA and STAR')
    assert rows['Mona']['Oriented R-CNN, DOTA-v1.0, mAP, ours'] == (
        'not measured')


def test_best_validation_on_request(tmp_path):
    write(tmp_path / 'a', VOC.format('-mona'), {'pascal_voc/mAP': .86},
          best={'pascal_voc/mAP': .88})
    runs = collect([tmp_path])
    assert rows_of(render(runs), 'Table 2')['Mona'][OURS] == '86.0'
    best = render(runs, which='best')
    assert rows_of(best, 'Table 2')['Mona'][OURS] == '88.0'
    assert 'best validation' in best


@pytest.fixture
def study(tmp_path):
    """Two methods, two variants, four tasks, two seeds each."""
    tasks = [('retinanet', 'pascal_voc/mAP', .3), ('upernet', 'mIoU', 30.),
             ('oriented-rcnn', 'dota/mAP', .3), ('', 'accuracy/top1', 30.)]
    for model, key, value in tasks:
        for i, (name, tuner) in enumerate([
                ('', 'Full'), ('-mona', 'Mona'), ('-mona-b32', 'Mona'),
                ('-mona-b8', 'Mona'), ('-lora', 'LoRA')]):
            config = SHAPES.format(model, name).replace('/_', '/')
            for seed in (1, 2):
                write(tmp_path / f'{model}{name}{seed}', config,
                      {key: value * (1 + i / 10)}, seed, world_size=1,
                      tuner={'type': tuner}, wall_seconds=60. * seed,
                      memory_mib=900. + seed)
    return collect([tmp_path])


def test_configs_of_no_metafile_make_a_table_of_methods_and_tasks(study):
    rows = rows_of(render(study), 'Runs by method and task (')
    assert list(rows)[2:] == ['Full', 'LoRA', 'Mona', 'Mona, b8', 'Mona, b32']
    # The second of five is 10 % above 30, the fourth 30 %.
    for task in ('retinanet_swin-nano_shapes, AP50',
                 'upernet_swin-nano_shapes, mIoU',
                 'oriented-rcnn_swin-nano_shapes, AP50',
                 'swin-nano_shapes, Top 1 Accuracy'):
        assert rows['Full'][task] == '30.0 ± 0.0'
        assert rows['Mona'][task] == '33.0 ± 0.0 (+3.0)'
        assert rows['Mona, b8'][task] == '39.0 ± 0.0 (+9.0)'
        assert rows['LoRA'][task] == '**42.0 ± 0.0 (+12.0)**'
    assert 'n=2 everywhere' in render(study)


def test_methods_on_two_backbones_share_their_rows(study, tmp_path):
    for name, tuner in (('', 'Full'), ('-mona', 'Mona')):
        write(tmp_path / f'tiny{name}', f'/x/fcos_swin-t{name}_a.py',
              {'mIoU': 50.}, tuner={'type': tuner})
    text = render(collect([tmp_path]))
    row = rows_of(text, 'Runs by method and task (')['Mona']
    assert row['fcos_swin-t_a, mIoU'] == '**50.0 (+0.0)**'
    assert row['upernet_swin-nano_shapes, mIoU'].startswith('33.0')


def test_change_of_all_runs_of_a_task_is_marked_once(tmp_path):
    for name, tuner in (('', 'Full'), ('-mona', 'Mona')):
        write(tmp_path / f'a{name}', f'/x/a_swin-t{name}_b.py', {'mIoU': 50.},
              tuner={'type': tuner}, changed=['train_cfg.max_epochs=8'])
        write(tmp_path / f'c{name}', f'/x/c_swin-t{name}_d.py', {'mIoU': 40.},
              tuner={'type': tuner}, changed=['lr=1'] * bool(name))
    text = render(collect([tmp_path]))
    row = rows_of(text, 'Runs by method and task (')['Mona']
    assert row['a_swin-t_b, mIoU [1]'] == '**50.0 (+0.0)**'
    assert row['c_swin-t_d, mIoU'] == '**40.0 [2]**'
    assert '[1] changed in all runs: train_cfg.max_epochs=8' in text
    assert '[2] changed: lr=1' in text


def test_wall_time_and_memory_have_tables_of_their_own(study):
    text = render(study)
    # 60 and 120 s: 1.5 minutes; deviation sqrt(.5) = .7. 901 and 902 MiB.
    time = rows_of(text, 'Runs by method and task: wall time')
    assert time['Mona']['retinanet_swin-nano_shapes'] == '1.5 ± 0.7'
    memory = rows_of(text, 'Runs by method and task: peak memory')
    assert memory['LoRA']['swin-nano_shapes'] == '902 ± 1'
    assert 'Measured on: 2 x NVIDIA H200.' in text


def test_task_with_a_single_method_stands_apart(study, tmp_path):
    write(tmp_path / 'base',
          'configs/quickstart/pretrain_swin-nano_singles.py',
          {'accuracy/top1': 65.}, tuner={'type': 'Full'})
    text = render(collect([tmp_path]))
    first, second = text.split('## Runs of tasks with a single method (')
    assert 'singles' not in first and 'pretrain_swin-nano_singles' in second


def test_run_of_no_cell_stands_apart(tmp_path):
    write(tmp_path, 'configs/upernet/upernet_swin-l_80k_loveda.py',
          {'mIoU': 50.}, tuner={'type': 'LoRA'})
    text = render(collect([tmp_path]))
    assert 'Others' not in text
    assert rows_of(text, 'Runs of tasks with a single method (')['LoRA']


def test_metric_that_is_not_known_is_shown_as_logged(tmp_path):
    write(tmp_path / 'a', '/x/a_swin-t-mona_b.py', {'mine/f1': .4})
    assert 'a_swin-t_b, mine/f1 (as logged)' in render(collect([tmp_path]))


def test_csv_has_a_line_per_run_and_metric(tmp_path):
    write(tmp_path / 'a',
          'configs/cascade_mask_rcnn/cascade-mask-rcnn_swin-b-mona_3x_coco.py',
          {'coco/bbox_mAP': .531, 'coco/segm_mAP': .457}, world_size=8)
    write(tmp_path / 'b', '/x/a_swin-t-mona_b.py', {}, finished=False)
    lines = list(csv.DictReader(io.StringIO(
        render(collect([tmp_path]), 'csv'))))
    assert [(li['metric'], li['last'], li['published'], li['finished'])
            for li in lines] == [
        ('', '', '', 'False'),
        ('coco/bbox_mAP', '53.1', '53.4', 'True'),
        ('coco/segm_mAP', '45.7', '46.0', 'True')]
    assert lines[1]['deviations'] == '' and lines[1]['seed'] == '1'


def test_latex_has_as_many_columns_in_every_line(study, seeds):
    text = render([*study, *seeds], 'latex')
    assert text.count(r'\begin{table}') == text.count(r'\end{table}') >= 6
    for part in text.split(r'\begin{tabular}')[1:]:
        spec, body = re.match(r'\{(l?r*)\}(.*?)\\end\{tabular\}', part,
                              re.S).groups()
        lines = [li for li in body.splitlines() if li.endswith(r'\\')]
        assert len(lines) > 1
        for line in lines:
            assert len(re.findall(r'(?<!\\)&', line)) == len(spec) - 1
        for rule in ('toprule', 'midrule', 'bottomrule'):
            assert body.count(f'\\{rule}') == 1


def test_latex_escapes_what_means_something_to_it(tmp_path):
    write(tmp_path / 'a', '/x/a_swin-t-mona_b.py', {'f_1': .4},
          changed=['name=50%&#{x}'])
    body = render(collect([tmp_path]), 'latex').split('\n', 1)[1]
    assert r'a\_swin-t\_b, f\_1' in body
    assert r'name=50\%\&\#\{x\}' in body
    assert not re.search(r'(?<!\\)[%#]', body)


def test_unknown_format_and_value_are_refused(seeds):
    with pytest.raises(ConfigError, match="'html'.*markdown, csv, latex"):
        render(seeds, 'html')
    with pytest.raises(ConfigError, match="'first'.*last, best"):
        render(seeds, which='first')


@pytest.fixture
def main(root):
    return runpy.run_path(str(root / 'tools/report.py'))['main']


def test_tool_prints_or_writes_to_file_or_folder(main, tmp_path, capsys):
    voc(tmp_path / 'w', 'mona', (.87, ), 'Mona')
    main([str(tmp_path / 'w')])
    printed = capsys.readouterr().out
    assert '## Table 2' in printed
    main([str(tmp_path / 'w'), '--out', str(tmp_path / 'a/b.md')])
    assert (tmp_path / 'a/b.md').read_text() == printed[:-1]
    main([str(tmp_path / 'w'), '--format', 'latex',
          '--out', f'{tmp_path}/new/'])
    assert r'\toprule' in (tmp_path / 'new/report.tex').read_text()


def test_tool_reports_work_dirs_by_default(main, tmp_path, monkeypatch,
                                           capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match='work_dirs: no such folder'):
        main([])
    voc(tmp_path / 'work_dirs', 'mona', (.87, ), 'Mona')
    main([])
    assert '87.0' in capsys.readouterr().out


def test_report_needs_no_torch(root, tmp_path):
    voc(tmp_path, 'mona', (.87, ), 'Mona')
    code = ('import runpy, sys\n'
            f'sys.argv = ["report.py", {str(tmp_path)!r}]\n'
            'runpy.run_path("tools/report.py", run_name="__main__")\n'
            'assert "torch" not in sys.modules')
    done = subprocess.run([sys.executable, '-c', code], cwd=root, text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    assert '## Table 2' in done.stdout
