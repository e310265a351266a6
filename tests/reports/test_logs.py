"""Reading logs: hand-written ones, and those of real runs."""
import math
import time
from pathlib import Path

import pytest
import runs
from curve_logs import epochs, train, val, write

from mona_mm.errors import ConfigError
from mona_mm.reports.logs import read_log


def points(curve):
    return list(curve.items())


def test_losses_are_by_iteration_and_metrics_by_epoch(tmp_path):
    log = read_log(write(tmp_path, epochs(3, 'acc')))
    assert points(log.curve('loss')) == [(i, i) for i in range(1, 7)]
    assert points(log.curve('acc')) == [(1, 10), (2, 20)]


def test_either_can_be_against_the_other(tmp_path):
    log = read_log(write(tmp_path, epochs(4, 'acc', interval=2)))
    assert points(log.curve('loss', 'epoch')) == [
        (.5, 2), (1, 4), (1.5, 6), (2, 8)]
    assert points(log.curve('acc', 'iter')) == [(4, 10), (8, 20)]


def test_interval_need_not_divide_the_epoch(tmp_path):
    # Of seven iterations the third and the sixth are logged.
    log = read_log(write(tmp_path, epochs(7, 'acc', count=3, interval=3)))
    assert list(log.curve('loss').index) == [3, 6, 10, 13, 17, 20]
    assert points(log.curve('acc', 'iter')) == [(7, 10), (14, 20), (21, 30)]


def test_metrics_of_a_run_by_iteration_are_by_iteration(tmp_path):
    log = read_log(write(tmp_path, [
        train(50, 2.), train(100, 1.), val(120, mIoU=30), train(150, .5),
        val(160, mIoU=40)]))
    assert points(log.curve('mIoU')) == [(120, 30), (160, 40)]
    with pytest.raises(ConfigError, match='no epochs, take --x iter'):
        log.curve('loss', 'epoch')


def test_step_0_means_after_the_last_logged_iteration(tmp_path):
    # LoggerHook's log_metric_by_epoch=True in a run by iteration.
    log = read_log(write(tmp_path, [
        train(5, 2.), val(0, mIoU=30), train(10, 1.), val(0, mIoU=40)]))
    assert points(log.curve('mIoU')) == [(5, 30), (10, 40)]


def test_resumed_run_counts_from_its_first_iteration_on(tmp_path):
    first = epochs(4, 'acc', count=3)
    second = epochs(4, 'acc', count=4, shift=.5)
    second = second[second.index(train(9, 9.5, 3)):]  # epoch 3 once more
    log = read_log(write(tmp_path, first, second))
    assert points(log.curve('loss')) == [(i, i) for i in range(1, 9)] + [
        (i, i + .5) for i in range(9, 17)]
    assert points(log.curve('acc')) == [(1, 10), (2, 20), (3, 30.5), (4, 40.5)]


def test_resumed_run_may_end_before_the_killed_one(tmp_path):
    log = read_log(write(tmp_path, epochs(4, 'acc', count=3),
                         epochs(4, 'acc', count=1, shift=.5)))
    assert points(log.curve('loss')) == [(i, i + .5) for i in range(1, 5)]
    assert points(log.curve('acc')) == [(1, 10.5)]


def test_validation_that_is_repeated_counts(tmp_path):
    log = read_log(write(
        tmp_path, [train(5, 2.), train(10, 1.), val(10, mIoU=30)],
        [val(10, mIoU=31), train(15, .5)]))
    assert points(log.curve('mIoU')) == [(10, 31)]


def test_validation_alone_after_training_has_no_place(tmp_path):
    log = read_log(write(tmp_path, epochs(2, 'acc'), [val(0, acc=99)]))
    assert points(log.curve('acc')) == [(1, 10), (2, 20)]


def test_line_that_is_cut_off_is_ignored(tmp_path):
    write(tmp_path, epochs(2, 'acc'))
    path, = tmp_path.glob('*/vis_data/scalars.json')
    path.write_text(path.read_text()[:-9])
    assert points(read_log(tmp_path).curve('acc')) == [(1, 10)]


def test_damaged_line_is_named(tmp_path):
    write(tmp_path, epochs(2, 'acc'))
    path, = tmp_path.glob('*/vis_data/scalars.json')
    lines = path.read_text().splitlines()
    path.write_text('\n'.join([lines[0], 'nonsense', *lines[2:]]))
    with pytest.raises(ConfigError, match="scalars.json, line 2.*'nonsense'"):
        read_log(tmp_path)


def test_one_session_may_be_read_alone(tmp_path):
    write(tmp_path, epochs(2, 'acc'), epochs(2, 'acc', shift=.5))
    log = read_log(tmp_path / '20260101_000000')
    assert points(log.curve('acc')) == [(1, 10), (2, 20)]


def test_what_training_and_validation_share_is_trainings(tmp_path):
    log = read_log(write(tmp_path, epochs(2, 'acc')))
    assert points(log.curve('time')) == [(i, .5) for i in range(1, 5)]


def test_loss_that_is_not_a_number_is_kept(tmp_path):
    log = read_log(write(tmp_path, [train(1, math.nan), train(2, 1.)]))
    first, second = log.curve('loss')
    assert math.isnan(first) and second == 1


def test_unknown_key_lists_the_known_ones(tmp_path):
    log = read_log(write(tmp_path, epochs(2, 'acc')))
    with pytest.raises(ConfigError, match=(
            f"'mAP' is not in the log of {tmp_path}; expected of loss, time, "
            'acc, data_time')):
        log.curve('mAP')


def test_folder_without_a_log_is_named(tmp_path):
    with pytest.raises(ConfigError, match=(
            f'{tmp_path}: expected a work dir with <timestamp>/vis_data/'
            'scalars.json$')):
        read_log(tmp_path)
    with pytest.raises(ConfigError, match='there is no such folder'):
        read_log(tmp_path / 'absent')


def test_folder_of_work_dirs_names_them(tmp_path):
    write(tmp_path / 'seed1', epochs(2, 'acc'))
    with pytest.raises(ConfigError, match=(
            f'holds work dirs: {tmp_path / "seed1"}')):
        read_log(tmp_path)


def test_empty_log_is_told(tmp_path):
    with pytest.raises(ConfigError, match='nothing is logged yet'):
        read_log(write(tmp_path, []))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


def _config(*args, **kwargs):
    cfg = runs.config(*args, **kwargs)
    cfg['default_hooks']['logger'] = dict(type='LoggerHook', interval=1)
    # The log's own mean is over one iteration.
    return dict(cfg, log_processor=dict(type='LogProcessor', window_size=1))


def _recorded(folder):
    """The losses that a hook of the tests saw, the last run's."""
    return {i + 1: pytest.approx(v, rel=1e-6)
            for i, v in runs.losses(folder).items()}


def test_real_run_killed_after_two_epochs_and_resumed_from_one(
        base, tmp_path):
    cfg = _config(tmp_path, base)
    cfg['train_cfg'].update(val_interval=1)
    runs.start(dict(cfg, train_cfg=dict(
        cfg['train_cfg'], max_epochs=2))).train()
    time.sleep(1.1)  # a session is named by the second
    (Path(tmp_path) / 'epoch_2.pth').unlink()
    runs.start(cfg, resume=str(tmp_path / 'epoch_1.pth')).train()

    assert len(list(tmp_path.glob('*/vis_data/scalars.json'))) == 2
    log = read_log(tmp_path)
    points = log.curve('loss')
    assert list(points.index) == list(range(1, 19))
    assert dict(points) == _recorded(tmp_path)
    assert list(log.curve('accuracy').index) == [1, 2, 3]
    assert list(log.curve('accuracy', 'iter').index) == [6, 12, 18]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_real_run_by_iteration(base, tmp_path, by_epoch):
    cfg = _config(tmp_path, base, iters=10)
    cfg['default_hooks']['logger']['log_metric_by_epoch'] = by_epoch
    cfg['log_processor']['by_epoch'] = False
    runs.start(cfg).train()
    log = read_log(tmp_path)
    assert dict(log.curve('loss')) == _recorded(tmp_path)
    assert list(log.curve('accuracy').index) == [5, 10]
