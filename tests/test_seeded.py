"""The same command finds the same numbers again."""
import argparse
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from paths import ROOT

from mona_mm.engine import launch
from mona_mm.research.shapes import make_shapes

QUICK = ROOT / 'configs/quickstart'
TASKS = {
    'retinanet_swin-nano-mona_shapes': {
        'model.neck.in_channels': [16, 32, 64],
        'model.bbox_head.stacked_convs': 1},
    'swin-nano-mona_shapes': {'model.head.in_channels': 64}}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    DefaultScope._instance_dict.clear()


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_shapes('data/shapes', train=6, val=2, per_class=1, val_per_class=1)


def numbers(task, folder, **options):
    """All that a short run logs, but how long it takes."""
    cfg = launch.load_config(argparse.Namespace(
        config=str(QUICK / f'{task}.py'), work_dir=folder, launcher='none',
        local_rank=0, tuner=None, cfg_options={
            **TASKS[task], **options,
            'model.backbone.arch': dict(
                embed_dims=8, depths=[1] * 4, num_heads=[1, 1, 2, 2]),
            'model.backbone.init_cfg': None,
            'model.backbone.allow_random_base': True,
            'train_dataloader.batch_size': 2,
            'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1,
            'default_hooks.logger.interval': 1}))
    # In a process of its own it is the only one.
    cfg.experiment_name = cfg.visualizer.name = f'{task}-{folder}'
    launch.run(cfg, lambda runner: runner.train())
    log, = Path(folder).glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == 4  # three steps and a validation
    return [{k: v for k, v in line.items() if 'time' not in k}
            for line in lines]


@pytest.mark.parametrize('task', TASKS)
def test_two_runs_log_the_same_and_another_seed_does_not(task, pictures):
    first = numbers(task, 'a')
    torch.rand(7)  # whatever came before does not matter
    assert numbers(task, 'b') == first
    other = numbers(task, 'c', **{'randomness.seed': 1})
    assert [x.get('loss') for x in other] != [x.get('loss') for x in first]


@pytest.mark.parametrize('path', sorted(QUICK.glob('*.py')),
                         ids=lambda path: path.stem)
def test_every_quickstart_is_seeded(path):
    assert isinstance(Config.fromfile(path).randomness.seed, int)
