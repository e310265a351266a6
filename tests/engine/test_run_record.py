"""run.json says what became of a run."""
import json
import os
import signal
import time
from datetime import datetime

import pytest
import runs
import torch
from mmengine.config import Config

from mona_mm.config import changes
from mona_mm.errors import Interrupted
from mona_mm.tuners.lora import LoRA

RECORD = dict(run_record=dict(type='mona_mm.RunRecordHook'))


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


class AskToStop(runs.Hook):
    """Sends this process SIGTERM within its second epoch."""

    def before_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 8:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)  # Python handles it between two instructions


def config(folder, base, **kwargs):
    cfg = runs.config(folder, base, randomness=dict(seed=7), **kwargs)
    cfg['default_hooks'].update(RECORD)
    return cfg


def record(folder):
    return json.loads((folder / 'run.json').read_text())


def test_finished_run_is_described(tmp_path, base):
    runner = runs.start(config(tmp_path, base))
    runner.train()
    found = record(tmp_path)
    assert found['finished'] and found['seed'] == 7
    assert (found['done'], found['total'], found['unit']) == (3, 3, 'epoch')
    assert found['tuner'] == dict(type='LoRA', rank=LoRA().rank,
                                  alpha=LoRA().alpha,
                                  targets=['q', 'v'])
    trained = sum(p.numel() for p in runner.model.backbone.parameters()
                  if p.requires_grad)
    everything = sum(p.numel() for p in runner.model.backbone.parameters())
    assert found['trained'] == trained
    assert found['share'] == pytest.approx(trained / everything)
    assert found['sessions'] == found['world_size'] == 1
    assert 0 < found['wall_seconds'] < 600
    # PyTorch alone holds more than this in memory.
    assert 50 < found['memory_mib'] < 100_000
    assert f'{torch.get_num_threads()} threads' in found['device']
    assert found['versions']['torch'] == torch.__version__
    start, end = (datetime.fromisoformat(found[k])
                  for k in ('started', 'ended'))
    assert start <= end


def test_iterations_are_counted_where_the_loop_counts_them(tmp_path, base):
    runs.start(config(tmp_path, base, by_epoch=False, iters=7,
                      hook=dict(interval=5))).train()
    found = record(tmp_path)
    assert (found['done'], found['total'], found['unit']) == (7, 7, 'iter')


def test_last_and_best_metrics_are_the_logs(tmp_path, base):
    runs.start(config(tmp_path, base)).train()
    logged = [
        json.loads(line)['accuracy'] for path in tmp_path.glob(
            '*/vis_data/scalars.json')
        for line in path.read_text().splitlines() if 'accuracy' in line]
    found = record(tmp_path)
    assert len(logged) == 2  # after epochs 2 and 3
    assert found['last'] == dict(accuracy=logged[-1])
    assert found['best'] == dict(accuracy=max(logged))


def test_resumed_run_goes_on_with_its_record(tmp_path, base):
    runner = runs.start(config(tmp_path, base))
    runner.register_hook(AskToStop())
    with pytest.raises(Interrupted):
        runner.train()
    first = record(tmp_path)
    assert not first['finished'] and first['done'] == 1
    runs.start(config(tmp_path, base), resume='auto').train()
    second = record(tmp_path)
    assert second['finished'] and second['sessions'] == 2
    assert second['started'] == first['started']
    assert second['wall_seconds'] > first['wall_seconds']


def test_new_run_in_an_old_work_dir_starts_a_new_record(tmp_path, base):
    for _ in range(2):
        runs.start(config(tmp_path, base)).train()
    assert record(tmp_path)['sessions'] == 1


@pytest.fixture
def written(tmp_path):
    path = tmp_path / 'my_leaf.py'
    path.write_text("work_dir = 'a'\nlr = 0.1\n"
                    "train_cfg = dict(by_epoch=True, max_epochs=3)\n"
                    "steps = [1, 2]\n")
    return Config.fromfile(path)


def test_changes_name_what_differs_from_the_file(written):
    assert changes(written) == []
    written.merge_from_dict({'lr': 0.2, 'steps': [1, 5, 6], 'new.key': 1})
    assert changes(written) == [
        'lr=0.2', 'new.key=1', 'steps.1=5', 'steps.2=6']


def test_changes_of_the_launch_do_not_count(written):
    written.merge_from_dict({
        'work_dir': 'b', 'launcher': 'slurm', 'resume': True,
        'randomness.seed': 3, 'default_hooks.logger.interval': 5})
    del written.train_cfg['by_epoch']
    written.train_cfg.type = 'mona_mm.ResumableEpochLoop'
    assert changes(written) == []


def test_places_and_what_a_backbone_calls_free_do_not_count(tmp_path):
    path = tmp_path / 'leaf.py'
    path.write_text("data = dict(data_root='a')\nmodel = dict(backbone=dict("
                    "type='mona_mm.TunedSwinTransformer', with_cp=False))\n")
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({
        'data.data_root': '/home/somebody/b', 'model.backbone.with_cp': True,
        'model.backbone.line_by_line': True,
        'model.backbone.drop_path_rate': .2})
    assert changes(cfg) == ['model.backbone.drop_path_rate=0.2']


def test_removed_setting_is_told(written):
    written.pop('lr')
    assert changes(written) == ['lr=(removed)']
