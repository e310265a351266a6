"""The last good checkpoint is always there."""
import os
import resource
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import runs
import torch
from mmengine.config import Config
from mmengine.fileio import get_file_backend

from mona_mm.checkpoint import atomic, read_checkpoint
from mona_mm.engine import preflight
from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.text import machine_name


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


def names(folder, pattern='*.pth'):
    return sorted(p.name for p in Path(folder).glob(pattern))


@pytest.fixture
def big_files_fail():
    """The kernel refuses to write files beyond 64 KiB, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (65536, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_failed_write_leaves_the_old_file_and_names_path_and_cause(
        tmp_path, big_files_fail):
    path = tmp_path / 'a.pth'
    backend = get_file_backend(backend_args=dict(backend='atomic_local'))
    backend.put(b'old', path)
    big_files_fail()
    with pytest.raises(CheckpointError) as error:
        backend.put(b'n' * 10**6, path)
    assert path.read_bytes() == b'old'
    assert names(tmp_path, '*') == ['a.pth']
    assert str(path) in str(error.value)
    assert os.strerror(27) in str(error.value)  # EFBIG
    assert 'before is untouched' in str(error.value)


def test_write_is_seen_only_when_it_is_complete(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'old')
    seen = []

    def watch(handle):
        seen.append((path.read_bytes(), names(tmp_path, '*.part')))
    monkeypatch.setattr(atomic.os, 'fsync', watch)
    atomic.replace_file(path, b'new')
    assert seen[0] == (b'old', [f'a.pth.{machine_name()}.{os.getpid()}.part'])
    assert path.read_bytes() == b'new' and names(tmp_path, '*') == ['a.pth']


def test_full_disk_during_training_keeps_what_was_saved(
        base, tmp_path, big_files_fail):
    cfg = runs.config(tmp_path, base, by_epoch=False, tuner='Full',
                      hook=dict(interval=4))
    runner = runs.start(cfg)
    fill = runner.register_hook

    class Fill(runs.Hook):
        def before_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 5:
                big_files_fail()
    fill(Fill())
    with pytest.raises(CheckpointError, match=r'cannot write .*iter_8\.pth'):
        runner.train()
    assert names(tmp_path) == ['iter_4.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('iter_4.pth')
    assert read_checkpoint(str(tmp_path / 'iter_4.pth'))['meta']['iter'] == 4


class Order(runs.Hook):
    """Notes which files there are whenever one is put in place."""

    def __init__(self, folder, monkeypatch) -> None:
        self.seen = []
        replace = os.replace

        def note(source, target):
            before = names(folder)
            replace(source, target)
            self.seen.append((Path(target).name, before))
        monkeypatch.setattr(os, 'replace', note)


def test_outdated_checkpoints_go_only_after_the_new_one_is_in_place(
        base, tmp_path, monkeypatch):
    seen = Order(tmp_path, monkeypatch).seen
    runs.start(runs.config(tmp_path, base, hook=dict(
        interval=1, max_keep_ckpts=1))).train()
    assert names(tmp_path) == ['epoch_3.pth']
    for epoch in (2, 3):
        old, new = f'epoch_{epoch - 1}.pth', f'epoch_{epoch}.pth'
        during = [before for name, before in seen if name.startswith(new)]
        assert during == [[old]]
    pointed = [before for name, before in seen
               if name.startswith('last_checkpoint')]
    assert pointed[1] == ['epoch_1.pth', 'epoch_2.pth']


@runs.METRICS.register_module(force=True)
class Rising(runs.Right):
    """Every validation is better than the one before."""

    count = 0

    def compute_metrics(self, results) -> dict:
        self.count += 1
        return dict(accuracy=float(self.count), other=float(self.count))


@pytest.mark.parametrize('keys', ['accuracy', ['accuracy', 'other']])
def test_previous_best_goes_only_after_the_new_one_is_in_place(
        base, tmp_path, monkeypatch, keys):
    seen = Order(tmp_path, monkeypatch).seen
    cfg = runs.config(tmp_path, base, val_evaluator=dict(type='Rising'),
                      hook=dict(interval=1, save_best=keys, rule='greater'))
    cfg['train_cfg']['val_interval'] = 1
    runs.start(cfg).train()
    best = ['best_accuracy_epoch_3.pth', 'best_other_epoch_3.pth']
    assert names(tmp_path, 'best*') == best[:1 if keys == 'accuracy' else 2]
    during = [before for name, before in seen if name.startswith(best[0])]
    assert 'best_accuracy_epoch_2.pth' in during[0]


def test_kill_between_saving_and_removing_is_tidied_up_on_resume(
        base, tmp_path, monkeypatch):
    cfg = runs.config(tmp_path, base, hook=dict(
        interval=1, max_keep_ckpts=1))
    from mona_mm.engine.resumable.saving import AtomicCheckpointHook
    runner = runs.start(cfg)
    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointHook, '_remove_outdated', _killed)
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    torn = f'epoch_2.pth.{machine_name()}.99999999.part'
    (tmp_path / torn).write_bytes(b'torn')
    runs.start(cfg, 'auto').train()
    assert names(tmp_path) == ['epoch_3.pth']
    assert names(tmp_path, '*.part') == []


def _killed(self, runner):
    if len(list(Path(self.out_dir).glob('epoch_*.pth'))) == 2:
        raise KeyboardInterrupt


def longer(work_dir, base, **hook):
    """Four epochs of which two checkpoints are kept."""
    return runs.config(
        work_dir, base, hook=dict(interval=1, max_keep_ckpts=2, **hook),
        train_cfg=dict(by_epoch=True, max_epochs=4, val_interval=1),
        log_level='INFO')


@pytest.fixture(scope='module')
def first(base, tmp_path_factory):
    """A run of three epochs that keeps two checkpoints."""
    folder = tmp_path_factory.mktemp('first')
    cfg = longer(folder, base)
    cfg['train_cfg']['max_epochs'] = 3
    runs.start(cfg).train()
    return folder


def test_run_resumed_from_another_folder_leaves_that_folder_alone(
        base, first, tmp_path):
    for name in ('epoch_2.pth', 'epoch_3.pth'):
        shutil.copy(first / name, tmp_path / name)
    (tmp_path / 'epoch_1.pth').write_text('somebody else needs this')
    before = names(tmp_path, '*')
    runs.start(longer(tmp_path / 'other', base),
               str(tmp_path / 'epoch_3.pth')).train()
    assert names(tmp_path, '*') == sorted([*before, 'other'])
    assert names(tmp_path / 'other') == ['epoch_4.pth']


def test_checkpoint_names_what_its_own_folder_has_to_lose_and_no_more(
        base, first, tmp_path):
    """Claims of a file: folders, paths elsewhere, names of other kinds."""
    for folder in ('precious', 'work', 'work/epoch_'):
        (tmp_path / folder).mkdir()
    kept = ['precious/thesis', 'precious/epoch_1.pth', 'work/notes.pth',
            'work/best_model.pth', 'work/interrupted.pth', 'victim.pth']
    for name in kept:
        (tmp_path / name).write_text('x')
    content = read_checkpoint(str(first / 'epoch_3.pth'))
    content['message_hub']['runtime_info'].update(
        outdated_ckpts=[
            *(str(tmp_path / name) for name in ('precious', *kept)), 3, None,
            '../precious', '..', '', '/elsewhere/epoch_1.pth'],
        keep_ckpt_ids=['/../../victim', 2, 2.5, 3, None],
        best_ckpt=str(tmp_path / 'precious/thesis'))
    (tmp_path / 'work/epoch_1.pth').write_text('outdated indeed')
    torch.save(content, tmp_path / 'work/epoch_3.pth')
    cfg = longer(tmp_path / 'work', base, save_best='accuracy', rule='greater')
    cfg['val_evaluator'] = dict(type='Rising')
    runs.start(cfg, 'auto').train()
    kept.remove('work/interrupted.pth')  # the next checkpoint removes it
    assert all((tmp_path / name).exists() for name in kept)
    assert not (tmp_path / 'work/epoch_1.pth').exists()
    log = ''.join(p.read_text() for p in (tmp_path / 'work').glob('*/*.log'))
    assert 'work/epoch_1.pth: removed' in log


def test_best_of_a_moved_folder_is_replaced_there(base, tmp_path):
    cfg = longer(tmp_path / 'old', base, save_best='accuracy', rule='greater')
    cfg.update(val_evaluator=dict(type='Rising'), work_dir=str(
        tmp_path / 'old'))
    cfg['train_cfg']['max_epochs'] = 3
    runs.start(cfg).train()
    shutil.copytree(tmp_path / 'old', tmp_path / 'new')  # the pointer, too
    cfg['work_dir'] = str(tmp_path / 'new')
    cfg['train_cfg']['max_epochs'] = 5
    runs.METRICS.get('Rising').count = 9  # still rising
    runs.start(cfg, 'auto').train()
    runs.METRICS.get('Rising').count = 0
    assert names(tmp_path / 'new') == [
        'best_accuracy_epoch_5.pth', 'epoch_4.pth', 'epoch_5.pth']
    assert 'best_accuracy_epoch_3.pth' in names(tmp_path / 'old')


def test_files_that_other_machines_write_are_kept_for_an_hour(tmp_path):
    own = machine_name()
    dead = [f'a.pth.{own}.99999999.part', 'b.pth.other-host.1.part',
            'c.pth.99999999.part']
    alive = [f'a.pth.{own}.{os.getpid()}.part', 'd.pth.other-host.99999.part',
             'e.pth.99999998.part', 'f.pth']
    for name in (*dead, *alive):
        (tmp_path / name).write_text('x')
    for name in dead[1:]:
        os.utime(tmp_path / name, (0, time.time() - 3700))
    removed = atomic.remove_partials(str(tmp_path))
    assert sorted(map(os.path.basename, removed)) == sorted(dead)
    assert names(tmp_path, '*') == sorted(alive)


@runs.DATASETS.register_module(force=True)
class NumpyNames(runs.NoisyPictures):
    """Class names as np.unique gives them, and what no file can hold."""

    @property
    def metainfo(self) -> dict:
        names = np.unique(['c', 'a', 'b'])
        return dict(classes=tuple(names), palette=np.eye(3), read=print)


def test_class_names_of_numpy_are_saved_so_that_they_can_be_read(
        base, tmp_path):
    cfg = runs.config(tmp_path, base, hook=dict(interval=1), log_level='INFO')
    cfg['train_dataloader']['dataset']['type'] = 'NumpyNames'
    cfg['train_cfg']['max_epochs'] = 1
    runs.start(cfg).train()
    meta = read_checkpoint(str(tmp_path / 'epoch_1.pth'))['meta']
    assert meta['dataset_meta'].keys() == {'classes', 'palette'}
    assert meta['dataset_meta']['classes'] == ('a', 'b', 'c')
    assert {type(c) for c in meta['dataset_meta']['classes']} == {str}
    log = ''.join(p.read_text() for p in tmp_path.glob('*/*.log'))
    told = log.index('not saved in checkpoints')
    assert 'read (a builtins.builtin_function' in log[told:told + 200]
    assert told < log.index('Saving checkpoint at 1 epochs')
    cfg['train_cfg']['max_epochs'] = 2
    runs.start(cfg, 'auto').train()
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']


@pytest.mark.parametrize('options, found', [
    (dict(interval=2, save_last=False), ['epoch_2.pth']),
    (dict(interval=-1), ['epoch_3.pth']),
    (dict(interval=1, save_begin=2), ['epoch_2.pth', 'epoch_3.pth']),
    (dict(interval=1, filename_tmpl='e{}.pth'),
     ['e1.pth', 'e2.pth', 'e3.pth']),
    (dict(interval=3, save_optimizer=False), ['epoch_3.pth']),
    (dict(interval=3, backend_args=dict(backend='local')), ['epoch_3.pth']),
])
def test_options_of_mmengines_hook_hold(base, tmp_path, options, found):
    runs.start(runs.config(tmp_path, base, hook=options)).train()
    assert names(tmp_path) == found
    assert (tmp_path / 'last_checkpoint').read_text().endswith(found[-1])
    last = read_checkpoint(str(tmp_path / found[-1]))
    assert ('optimizer' in last) == options.get('save_optimizer', True)


def test_other_out_dir_and_published_weights(base, tmp_path):
    cfg = runs.config(tmp_path / 'work', base, hook=dict(
        interval=3, out_dir=str(tmp_path / 'out'),
        published_keys=['meta', 'state_dict']))
    runs.start(cfg).train()
    files = names(tmp_path / 'out/work')
    assert len(files) == 2 and 'epoch_3.pth' in files
    shutil.copy(tmp_path / 'out/work/epoch_3.pth', tmp_path / 'kept.pth')
    runs.start(cfg, 'auto').train()  # finds it there; nothing is left to do
    assert torch.equal(
        read_checkpoint(str(tmp_path / 'kept.pth'))['state_dict']['head.bias'],
        read_checkpoint(str(tmp_path / 'out/work/epoch_3.pth'))
        ['state_dict']['head.bias'])


def test_folder_that_cannot_be_written_is_named_before_anything_is_built(
        tmp_path):
    (tmp_path / 'file').write_text('')
    for cfg in (dict(work_dir=str(tmp_path / 'file/work')),
                dict(work_dir=str(tmp_path / 'work'), default_hooks=dict(
                    checkpoint=dict(out_dir=str(tmp_path / 'file/out'))))):
        with pytest.raises(ConfigError, match='cannot write to .*file/'):
            preflight.check_folders(Config(cfg))


def test_disk_too_small_for_a_checkpoint_is_named_before_training(
        base, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage',
                        lambda path: usage._replace(free=100))
    runner = runs.start(runs.config(tmp_path, base))
    with pytest.raises(CheckpointError, match='no checkpoint could be saved'):
        runner.train()
    assert not (tmp_path / 'losses.txt').exists()
