"""A resumed run is the run that was never interrupted."""
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import runs
import torch
from mmengine.config import Config

from mona_mm.checkpoint import io, read_checkpoint
from mona_mm.engine.resumable.newest import (
    newest_checkpoint,
    trust_run,
    verify,
)
from mona_mm.errors import CheckpointError

SCHEDULES = Path(__file__).parents[2] / 'configs/_base_/schedules'


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


def every(interval):
    """Save so often; the last iteration is always saved."""
    return dict(by_epoch=False, hook=dict(interval=interval))


def check_equal(folder, cfg, at, name='iter_{}.pth'):
    """Resume a whole run's checkpoint in a fresh work dir, and compare."""
    again = folder.parent / f'{folder.name}-from-{at}'
    again.mkdir()
    shutil.copy(folder / name.format(at), again)
    runs.start(dict(cfg, work_dir=str(again)), 'auto').train()
    whole, resumed = runs.losses(folder), runs.losses(again)
    first = read_checkpoint(str(again / name.format(at)))['meta']['iter']
    assert sorted(resumed) == list(range(first, max(whole) + 1))
    for step, value in resumed.items():
        assert value == pytest.approx(whole[step], rel=1e-6), step
    return again


def final(folder):
    newest = newest_checkpoint(Config(dict(work_dir=str(folder))))
    return read_checkpoint(newest)['state_dict']


@pytest.mark.parametrize('at', [4, 6, 12, 17], ids=[
    'within the first epoch', 'as an epoch ended', 'before a validation',
    'before the last iteration'])
def test_epochs_go_on_where_they_stopped(base, tmp_path, at):
    # No seed is given: the sampler's has to come back as well.
    cfg = runs.config(tmp_path / 'whole', base, **every(at))
    runs.start(cfg).train()
    again = check_equal(tmp_path / 'whole', cfg, at)
    for key, value in final(tmp_path / 'whole').items():
        assert torch.equal(value, final(again)[key]), key


def test_checkpoint_by_epoch_goes_on_exactly(base, tmp_path):
    cfg = runs.config(tmp_path / 'whole', base,
                      hook=dict(interval=1, save_best='accuracy',
                                rule='greater'))
    runs.start(cfg).train()
    check_equal(tmp_path / 'whole', cfg, 1, 'epoch_{}.pth')
    check_equal(tmp_path / 'whole', cfg, 2, 'epoch_{}.pth')  # with best


@pytest.mark.parametrize('at', [3, 5, 11])
def test_iterations_go_on_where_they_stopped(base, tmp_path, at):
    cfg = runs.config(tmp_path / 'whole', base, iters=14, **every(at))
    runs.start(cfg).train()
    check_equal(tmp_path / 'whole', cfg, at)


def shortened(schedulers):
    """A schedule of tens of thousands of iterations, over 3 epochs of 6."""
    ends = {1500: 4, 160000: 14, 80000: 14, 500: 4, 20: 2, 27: 1, 33: 2,
            8: 1, 11: 2, 3: 2}
    for scheduler in schedulers:
        if scheduler.get('end') and scheduler.get('convert_to_iter_based'):
            scheduler['end'] = 1
        elif scheduler.get('end'):
            scheduler['end'] = ends[scheduler['end']]
        if 'milestones' in scheduler:
            scheduler['milestones'] = [
                ends[m] for m in scheduler['milestones']]
        if scheduler.get('type') == 'CosineAnnealingLR':
            scheduler['T_max'] = 3
            scheduler['end'] = 3
    return schedulers


@pytest.mark.parametrize(
    'schedule', sorted(p.stem for p in SCHEDULES.glob('*.py')))
def test_every_schedule_of_our_configs_goes_on_exactly(
        base, tmp_path, schedule):
    ours = Config.fromfile(SCHEDULES / f'{schedule}.py')
    assert ours.param_scheduler
    iters = 14 if ours.train_cfg.get('max_iters') else None
    wrapper = dict(ours.optim_wrapper.to_dict(), type='OptimWrapper')
    wrapper.pop('loss_scale', None), wrapper.pop('dtype', None)
    cfg = runs.config(
        tmp_path / 'whole', base, iters=iters, optim_wrapper=wrapper,
        param_scheduler=shortened(ours.to_dict()['param_scheduler']),
        **every(5))
    runs.start(cfg).train()
    again = check_equal(tmp_path / 'whole', cfg, 5)
    rates = [
        [g['lr'] for g in read_checkpoint(str(folder / f'iter_{i}.pth'))
         ['optimizer']['param_groups']]
        for i in (10, iters or 18) for folder in (tmp_path / 'whole', again)]
    assert rates[0] == rates[1] and rates[2] == rates[3]
    assert len({tuple(r) for r in rates}) == 2  # the schedule moved


def test_average_of_the_weights_goes_on_exactly(base, tmp_path):
    hooks = [dict(type='EMAHook', momentum=0.2)]
    cfg = runs.config(tmp_path / 'whole', base, hooks=hooks, **every(7))
    runs.start(cfg).train()
    again = check_equal(tmp_path / 'whole', cfg, 7)
    for key, value in final(tmp_path / 'whole').items():
        assert torch.equal(value, final(again)[key]), key


def test_order_of_the_data_goes_on_with_workers(base, tmp_path):
    cfg = runs.config(tmp_path / 'whole', base, **every(4))
    cfg['train_dataloader'].update(num_workers=1)
    cfg['train_dataloader']['dataset']['noise'] = False
    runs.start(cfg).train()
    check_equal(tmp_path / 'whole', cfg, 4)


def test_epoch_of_another_length_starts_again_and_says_so(base, tmp_path):
    cfg = runs.config(tmp_path / 'a', base, **every(9))
    runs.start(cfg).train()
    shutil.copy(tmp_path / 'a/iter_9.pth', tmp_path / 'nine.pth')
    cfg = runs.config(tmp_path / 'b', base, **every(9))
    cfg['train_dataloader']['dataset']['size'] = 8
    runs.start(cfg, str(tmp_path / 'nine.pth')).train()
    assert 'the epoch starts again' in log(tmp_path / 'b')
    assert len(runs.losses(tmp_path / 'b')) == 8  # epochs 2 and 3, of 4


def log(folder) -> str:
    return ''.join(p.read_text() for p in folder.glob('*/*.log'))


def save(path, iteration, optimizer=True):
    content = dict(
        meta=dict(iter=iteration, epoch=0), state_dict=dict(a=torch.ones(9)),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}))
    if optimizer:
        content['optimizer'] = dict(state={}, param_groups=[])
    torch.save(content, path)
    return str(path)


def choose(folder):
    return newest_checkpoint(Config(dict(work_dir=str(folder))))


def tear(path, share=0.6):
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:int(len(data) * share)])


def flip(path):
    data = bytearray(Path(path).read_bytes())
    where = data.find(torch.ones(9).numpy().tobytes())
    assert where > 0
    data[where + 8] ^= 1
    Path(path).write_bytes(data)


@pytest.fixture
def told(monkeypatch):
    """What is said about the choice."""
    lines = []
    monkeypatch.setattr('mona_mm.engine.resumable.newest.print_log',
                        lambda line, **kwargs: lines.append(line))
    return lines


@pytest.mark.parametrize('break_it', [tear, flip])
def test_broken_newest_checkpoint_is_skipped_and_named(
        tmp_path, told, break_it):
    first, second = (save(tmp_path / f'iter_{i}.pth', i) for i in (1, 2))
    (tmp_path / 'last_checkpoint').write_text(second)
    break_it(second)
    assert choose(tmp_path) == first
    (line, ) = told
    assert 'skipped' in line and 'iter_2.pth' in line
    assert 'iter_1.pth (iteration 1)' in line


@pytest.mark.parametrize('pointer', [None, '', '/nowhere/iter_9.pth', '\0\0'])
def test_useless_pointer_is_made_up_for(tmp_path, pointer):
    for i in (1, 2, 3):
        newest = save(tmp_path / f'iter_{i}.pth', i)
    if pointer is not None:
        (tmp_path / 'last_checkpoint').write_text(pointer)
    assert choose(tmp_path) == newest


def test_pointer_survives_a_move_of_the_folder(tmp_path):
    save(tmp_path / 'iter_2.pth', 2)
    older = save(tmp_path / 'iter_1.pth', 1)  # copied last: newer by date
    (tmp_path / 'last_checkpoint').write_text('/old/place/iter_1.pth')
    assert choose(tmp_path) == older


def test_checkpoint_saved_just_before_a_kill_is_found(tmp_path):
    first = save(tmp_path / 'iter_1.pth', 1)
    (tmp_path / 'last_checkpoint').write_text(first)
    assert choose(tmp_path) == first
    assert choose(tmp_path) != save(tmp_path / 'iter_2.pth', 2)[:-1]
    assert choose(tmp_path).endswith('iter_2.pth')


def test_leftovers_of_an_earlier_run_do_not_win_over_the_pointer(tmp_path):
    save(tmp_path / 'epoch_12.pth', 1200)
    own = save(tmp_path / 'epoch_1.pth', 100)
    (tmp_path / 'last_checkpoint').write_text(own)
    assert choose(tmp_path) == own


def test_best_and_published_files_are_not_resumed(tmp_path):
    own = save(tmp_path / 'epoch_1.pth', 1)
    save(tmp_path / 'best_acc_epoch_2.pth', 2, optimizer=False)
    assert choose(tmp_path) == own
    Path(own).unlink()
    with pytest.raises(CheckpointError, match='holds no optimizer state'):
        choose(tmp_path)


def test_what_is_no_regular_file_or_unpacks_to_more_is_skipped(
        tmp_path, told):
    own = save(tmp_path / 'iter_1.pth', 1)
    os.mkfifo(tmp_path / 'iter_2.pth')
    (tmp_path / 'iter_3.pth').symlink_to('/dev/zero')
    with zipfile.ZipFile(tmp_path / 'iter_4.pth', 'w',
                         zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a/data.pkl', bytes(1 << 24))
    (tmp_path / 'iter_5.pth').mkdir()
    assert choose(tmp_path) == own
    (line, ) = told
    for name, why in ((2, 'pipe'), (3, 'device'), (4, 'would come out'),
                      (5, 'folder')):
        assert f'iter_{name}.pth: ' in line and why in line


@pytest.mark.parametrize('part, value', [
    ('meta', None), ('meta', dict(iter='9', epoch=1)), ('meta', [1]),
    ('meta', dict(iter=-1, epoch=0)), ('message_hub', None),
    ('message_hub', dict(log_scalars=3))])
def test_checkpoint_that_lacks_what_resuming_needs_is_named(
        tmp_path, part, value):
    path = save(tmp_path / 'iter_1.pth', 1)
    content = read_checkpoint(path)
    content[part] = value
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=f'iter_1.pth.*{part}'):
        verify(path)
    with pytest.raises(CheckpointError, match=f'iter_1.pth.*{part}'):
        choose(tmp_path)


@pytest.mark.parametrize('change', [
    lambda meta: meta.update(run_state=3),
    lambda meta: meta['run_state'].update(done='all'),
    lambda meta: meta['run_state']['rng'][0]['numpy'].update(position=10**9),
    lambda meta: meta['run_state']['rng'][0].update(torch=torch.ones(2)),
    lambda meta: meta.update(fingerprint=dict(tuner=1)),
])
def test_broken_state_of_a_run_is_an_error_that_says_so(
        base, tmp_path, change, monkeypatch):
    whole = tmp_path.parent / 'for-broken-states'
    if not whole.exists():
        runs.start(runs.config(whole, base)).train()
    content = read_checkpoint(str(whole / 'epoch_1.pth'))
    change(content['meta'])
    torch.save(content, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match='broken'):
        runs.start(runs.config(tmp_path / 'a', base),
                   str(tmp_path / 'odd.pth')).train()


class Unknown:
    """Of a class that only a trusted file may have."""


def test_trusted_work_dir_is_resumed_without_naming_a_file(
        tmp_path, monkeypatch):
    monkeypatch.setattr(io, '_trusted', set())
    path = save(tmp_path / 'iter_1.pth', 1)
    content = read_checkpoint(path)
    torch.save(dict(content, odd=Unknown()), path)
    with pytest.raises(CheckpointError, match='Unknown'):
        choose(tmp_path)
    trust_run(Config(dict(work_dir=str(tmp_path))))
    assert choose(tmp_path) == path


def test_nothing_to_resume_starts_from_the_beginning(base, tmp_path, told):
    cfg = runs.config(tmp_path / 'a', base, **every(9))
    runs.start(cfg, 'auto').train()
    assert len(runs.losses(tmp_path / 'a')) == 18
    assert 'nothing to resume' in told[0]


def test_run_state_is_readable_without_unpickling_objects(base, tmp_path):
    runs.start(runs.config(tmp_path, base, **every(4))).train()
    content = torch.load(tmp_path / 'iter_4.pth', weights_only=False)
    torch.save(dict(meta=dict(run_state=content['meta']['run_state'],
                              fingerprint=content['meta']['fingerprint'])),
               tmp_path / 'plain.pth')
    plain = torch.load(tmp_path / 'plain.pth', weights_only=True)['meta']
    assert plain['run_state']['done'] == 4
    assert plain['run_state']['inside'] is True
    assert plain['fingerprint']['tuner']['type'] == 'LoRA'
