"""The last good checkpoint is always there."""
import os
import resource
import shutil
from pathlib import Path

import pytest
import runs
import torch
from mmengine.config import Config
from mmengine.fileio import get_file_backend

from mona_mm.checkpoint import atomic, read_checkpoint
from mona_mm.engine import preflight
from mona_mm.errors import CheckpointError, ConfigError


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
    assert seen[0] == (b'old', [f'a.pth.{os.getpid()}.part'])
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
    """Notes which files there are whenever one is being written."""

    def __init__(self, folder, monkeypatch) -> None:
        self.seen = []
        whole = atomic._write_through

        def write(path, content):
            before = names(folder)
            whole(path, content)
            self.seen.append((Path(path).name, before))
        monkeypatch.setattr(atomic, '_write_through', write)


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
    from mona_mm.engine.saving import AtomicCheckpointHook
    runner = runs.start(cfg)
    with monkeypatch.context() as patch:
        patch.setattr(AtomicCheckpointHook, '_remove_outdated', _killed)
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    (tmp_path / 'epoch_2.pth.99999999.part').write_bytes(b'torn')
    runs.start(cfg, 'auto').train()
    assert names(tmp_path) == ['epoch_3.pth']
    assert names(tmp_path, '*.part') == []


def _killed(self, runner):
    if len(list(Path(self.out_dir).glob('epoch_*.pth'))) == 2:
        raise KeyboardInterrupt


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
