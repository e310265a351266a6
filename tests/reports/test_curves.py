"""From work dirs to panels, and the tool that does it."""
import runpy
import subprocess
import sys

import pytest
from curve_logs import epochs, lines_of, texts_of, train, val, write

from mona_mm.errors import ConfigError
from mona_mm.reports.curves import collect
from mona_mm.reports.styles import method_styles


@pytest.fixture
def work(tmp_path):
    """``TASK/METHOD/seedN``, the loss is the iteration plus the seed."""
    for task, metric in (('voc', 'mAP'), ('ade', 'mIoU')):
        for method in ('mona', 'full'):
            for seed in (1, 2):
                write(tmp_path / task / method / f'seed{seed}',
                      epochs(3, metric, shift=seed))
    return tmp_path


def test_every_key_has_a_panel_with_its_axis(work):
    loss, metric = collect(
        [work / 'voc/mona/seed1', work / 'voc/full/seed1'], ['loss', 'mAP'])
    assert (loss.xlabel, loss.ylabel) == ('iterations', 'training loss')
    assert (metric.xlabel, metric.ylabel) == ('epochs', 'mAP, validation')
    assert {label: dict(line.mean) for label, line in metric.lines.items()
            } == {'Mona': {1: 11, 2: 21}, 'Full': {1: 11, 2: 21}}


def test_seeds_become_mean_and_range(work):
    panel, = collect([work / f'voc/{m}/seed{i}' for m in ('mona', 'full')
                      for i in (1, 2)], ['mAP'], group=True)
    line = panel.lines['Mona']
    assert dict(line.mean) == {1: 11.5, 2: 21.5} and line.runs == 2
    assert (list(line.low), list(line.high)) == ([11, 21], [12, 22])


def test_folders_become_panels_with_the_keys_that_they_have(work):
    panels = collect(sorted(work.glob('*/*/seed1')), ['mAP', 'mIoU'],
                     group=True, by_folder=True)
    assert [(p.title, p.ylabel, list(p.lines)) for p in panels] == [
        ('ade', 'mIoU, validation', ['Full', 'Mona']),
        ('voc', 'mAP, validation', ['Full', 'Mona'])]


def test_smoothing_is_of_training_only_and_told(work):
    loss, metric = collect([work / 'voc/mona/seed1'], ['loss', 'mAP'],
                           smooth=2)
    assert list(loss.lines['seed1'].mean) == [2., 2.5, 3.5, 4.5, 5.5, 6.5]
    assert 'running mean of 2 logged points' in loss.ylabel
    assert list(metric.lines['seed1'].mean) == [11, 21]
    assert 'mean' not in metric.ylabel


def test_x_can_be_chosen(work):
    panel, = collect([work / 'voc/mona/seed1'], ['mAP'], x='iter')
    assert panel.xlabel == 'iterations'
    assert list(panel.lines['seed1'].mean.index) == [3, 6]


def test_runs_by_epoch_and_by_iteration_share_iterations(tmp_path):
    one = write(tmp_path / 'one', epochs(3, 'mIoU'))
    two = write(tmp_path / 'two', [train(4, 1.), val(5, mIoU=7)])
    panel, = collect([one, two], ['mIoU'])
    assert panel.xlabel == 'iterations'
    assert [list(line.mean.index) for line in panel.lines.values()] == [
        [3, 6], [5]]


def test_labels_must_be_one_per_work_dir(work):
    with pytest.raises(ConfigError, match='1 labels for 2 work dirs'):
        collect([work / 'voc/mona/seed1', work / 'voc/full/seed1'],
                labels=['a'])


def test_equal_labels_need_group(work):
    folders = [work / 'voc/mona/seed1', work / 'voc/full/seed1']
    with pytest.raises(ConfigError, match="'a' stands for several.*--group"):
        collect(folders, labels=['a', 'a'])
    panel, = collect(folders, labels=['a', 'a'], group=True)
    assert panel.lines['a'].runs == 2


def test_key_that_no_run_has_lists_the_others(work):
    with pytest.raises(ConfigError, match=(
            "'mAPP' is not in any of 2 logs; expected of loss, time, mAP")):
        collect([work / 'voc/mona/seed1', work / 'voc/full/seed1'], ['mAPP'])


def test_run_that_lacks_a_key_is_left_out_and_named(work):
    told = []
    panel, = collect([work / 'voc/mona/seed1', work / 'ade/mona/seed1'],
                     ['mAP'], labels=['a', 'b'], warn=told.append)
    assert list(panel.lines) == ['a']
    assert len(told) == 1 and str(work / 'ade/mona/seed1') in told[0]


def test_folder_without_any_key_is_left_out_and_named(work):
    told = []
    panels = collect(sorted(work.glob('*/*/seed1')), ['mAP'], group=True,
                     by_folder=True, warn=told.append)
    assert [p.title for p in panels] == ['voc']
    assert told == ['ade: none of mAP is in its logs: left out']


@pytest.fixture
def tool(root):
    return runpy.run_path(str(root / 'tools/plot_curves.py'))['main']


@pytest.mark.parametrize('out, more, names', [
    ('loss', [], ['loss.png', 'loss.svg']),
    ('loss.svg', [], ['loss.svg']),
    ('v1.5', ['--formats', 'svg,pdf'], ['v1.5.pdf', 'v1.5.svg']),
    ('', [], ['curves.png', 'curves.svg']),
    ('new/', [], ['new/curves.png', 'new/curves.svg'])])
def test_tool_writes_where_it_is_told(tool, work, tmp_path, capsys, out, more,
                                      names):
    folder = tmp_path / 'out'
    folder.mkdir()
    tool([str(work / 'voc/mona/seed1'), '--out', f'{folder}/{out}', *more])
    files = [str(p) for p in folder.rglob('*.*')]
    assert sorted(files) == [str(folder / name) for name in names]
    assert sorted(capsys.readouterr().out.split()) == sorted(files)


def test_tool_draws_every_option(tool, work):
    tool([*map(str, sorted(work.glob('*/*/seed*'))), '--group', '--panel-by',
          'folder', '--keys', 'loss', 'mAP', 'mIoU', '--smooth', '2', '--x',
          'epoch', '--ylim', '0', 'auto', '--title', 'All', '--out',
          str(work / 'c.svg')])
    texts = texts_of(work / 'c.svg')
    assert {'All', 'ade', 'voc', 'Mona', 'Full', 'epochs',
            'line: mean of 2 runs', 'mIoU, validation'} <= set(texts)
    assert 'iterations' not in texts
    assert lines_of(work / 'c.svg', method_styles()['mona'], 6) == 2


def test_tool_names_what_is_wrong_in_one_line(root, tmp_path):
    done = subprocess.run(
        [sys.executable, str(root / 'tools/plot_curves.py'), str(tmp_path)],
        cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f'error: no training log in {tmp_path}')
    assert done.stderr.count('\n') == 1 and not done.stdout
