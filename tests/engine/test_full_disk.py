"""What cannot be written is told with its path."""
import errno
from types import SimpleNamespace

import pytest
from hostile import put_special, small_files
from mmengine.config import Config

from mona_mm.engine import launch, run_record
from mona_mm.engine.preflight import check_folders
from mona_mm.errors import ConfigError, UserError
from mona_mm.text import write_atomically


def test_run_record_that_cannot_be_written_is_named(tmp_path):
    hook = run_record.RunRecordHook()
    hook.record = dict(memory_mib=0., unit='epoch', best={}, text='x' * 999)
    (tmp_path / 'run.json').write_text('{"old": 1}')
    with small_files(500), pytest.raises(
            ConfigError, match='cannot write .*run.json: File too large'):
        hook._write(SimpleNamespace(work_dir=str(tmp_path)), 1)
    assert (tmp_path / 'run.json').read_text() == '{"old": 1}'
    assert [p.name for p in tmp_path.iterdir()] == ['run.json']


@pytest.mark.parametrize('name', ['file/a.txt', 'folder', 'n' * 300])
def test_place_that_cannot_be_written_is_named(name, tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(ConfigError, match=f'cannot write .*{name}: '):
        with write_atomically(tmp_path / name) as partial:
            with open(partial, 'w') as file:
                file.write('1')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['file', 'folder']


@pytest.mark.parametrize('name, why', [
    ('n' * 300, 'too long'), ('d/' * 3000, 'too long'), ('a\0b', 'null'),
    ('pipe/a', 'Not a directory'), ('pipe', 'Not a directory')])
def test_work_dir_that_is_no_folder_is_told_at_once(name, why, tmp_path):
    put_special('pipe', tmp_path / 'pipe')
    with pytest.raises(ConfigError, match=f'(?s)cannot write to .*{why}'):
        check_folders(Config(dict(work_dir=str(tmp_path / name))))


@pytest.mark.parametrize('name', ['-x', 'new/-x'])
def test_work_dir_may_start_with_a_dash(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_folders(Config(dict(work_dir=name)))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_met_by_mmengine_is_told_with_the_work_dir(
        tmp_path, monkeypatch):
    runner = SimpleNamespace()
    monkeypatch.setattr(launch.Runner, 'from_cfg', lambda cfg: runner)
    cfg = Config(dict(work_dir=str(tmp_path), launcher='none', model={}))

    def job(number):
        def fail(given):
            assert given is runner
            raise OSError(number, 'told by the system')
        return fail

    runner.logger = SimpleNamespace(info=lambda line: None)
    with pytest.raises(UserError, match=f'cannot write {tmp_path}: told by '
                       'the system; .* MiB are free .*--resume'):
        launch.run(cfg, job(errno.ENOSPC))
    with pytest.raises(OSError):
        launch.run(cfg, job(errno.EIO))
