"""Real runs of the other backbone families with Mona, in every task.

All methods are in test_matrix.py.
"""
import argparse
from pathlib import Path

import pytest
import torch
from helpers import new_name
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mona_mm.checkpoint import read_checkpoint
from mona_mm.engine import fit, launch, preflight
from mona_mm.research.shapes import make_shapes

TASKS = ('retinanet', 'cascade-mask-rcnn', 'upernet', 'oriented-rcnn', '')
#: As wide as swin-nano, so that they fit its necks and heads.
NANOS = ('pvt-nano', 'convnext-nano', 'swinv2-nano')


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('shapes')
    make_shapes(folder / 'data/shapes', train=4, val=2, per_class=1,
                val_per_class=1)
    return folder


@pytest.fixture(autouse=True)
def _inside(data, monkeypatch):
    monkeypatch.chdir(data)
    yield
    DefaultScope._instance_dict.clear()


def load(path, work_dir) -> Config:
    cfg = launch.load_config(argparse.Namespace(
        config=str(path), work_dir=str(work_dir), launcher='none',
        local_rank=0, tuner=None, cfg_options={}))
    cfg.experiment_name = new_name(work_dir.name)
    return cfg


def nano_of(root, name) -> dict:
    """The backbone that a base of the configs defines."""
    cfg = Config.fromfile(root / f'configs/_base_/models/{name}.py')
    return cfg[name.replace('-', '_')].to_dict()


def compose(root, task, nano, tuner, folder) -> Path:
    """A quickstart on another backbone, with a base in its library's layout.
    """
    name = '_'.join(filter(None, [task, 'swin-nano_shapes.py']))
    cfg = Config.fromfile(root / 'configs/quickstart' / name)
    backbone = nano_of(root, nano)
    del backbone['_delete_'], backbone['allow_random_base']
    backbone.update(tuner=dict(type=tuner),
                    out_indices=cfg.model.backbone.out_indices)
    cls = MODELS.get(backbone['type'])
    plain = cls.plain_class(**cls.plain_arguments(
        {k: v for k, v in backbone.items() if k != 'type'}))
    torch.save(dict(state_dict=plain.state_dict()), folder / 'base.pth')
    backbone['init_cfg'] = dict(
        type='Pretrained', checkpoint=str(folder / 'base.pth'))
    cfg.model.backbone = backbone
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.train_dataloader.batch_size = 2
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


def run(root, task, nano, tuner, folder):
    """Train for one epoch and evaluate; then from the file that was saved."""
    path = compose(root, task, nano, tuner, folder)
    cfg = load(path, folder / 'work')
    preflight.preflight(cfg, ('train', 'val'))
    seen = {}

    def job(runner):
        backbone = runner.model.backbone
        seen['before'] = {k: p.clone() for k, p in
                          backbone.named_parameters()}
        runner.train()
        seen.update(backbone=backbone, metrics={
            k.removeprefix('val/'): v.current() for k, v in
            runner.message_hub.log_scalars.items()
            if k.startswith('val/') and not k.endswith('time')})

    launch.run(cfg, job)
    backbone, base = seen['backbone'], torch.load(folder / 'base.pth')
    for key, param in backbone.named_parameters():
        moved = not torch.equal(param, seen['before'][key])
        if key in base['state_dict'] and not param.requires_grad:
            assert torch.equal(param, base['state_dict'][key]), key
        if key in backbone.delta_names:
            assert moved, f'{key} did not move'
    saved, = (folder / 'work').glob('epoch_1.pth')
    kept = {k.removeprefix('backbone.') for k in read_checkpoint(str(saved))[
        'state_dict'] if k.startswith('backbone.')}
    assert not kept & backbone.frozen.names
    assert backbone.delta_names <= kept
    cfg, found = load(path, folder / 'again'), {}
    cfg.load_from = str(saved)
    fit.check_for_test(cfg, str(saved))
    launch.run(cfg, lambda runner: found.update(runner.test()))
    again = {k: v for k, v in found.items() if not k.endswith('time')}
    assert again and again == pytest.approx(
        {k: seen['metrics'][k] for k in again})


@pytest.mark.parametrize('task', [
    pytest.param(task, id=task or 'classification',
                 marks=pytest.mark.slow if task else ())
    for task in TASKS])
@pytest.mark.parametrize('nano', NANOS)
def test_mona_trains_saves_and_is_tested_again(root, task, nano, tmp_path):
    run(root, task, nano, 'Mona', tmp_path)
