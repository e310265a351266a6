"""Real runs of a ViT in every task family, from config to metric.

All methods are in test_matrix.py.
"""
import math

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from test_training import SHORT, metrics_of, run_distributed, train
from vits import plain_vit

from mona_mm.research.shapes import make_shapes

TASKS = ('retinanet_', 'cascade-mask-rcnn_', 'upernet_', 'oriented-rcnn_', '')


def config_of(root, task) -> str:
    return str(root / f'configs/quickstart/{task}vit-nano_shapes.py')


@pytest.fixture(scope='module')
def workspace(root, tmp_path_factory):
    """A folder with tiny data and a random base where configs expect them."""
    folder = tmp_path_factory.mktemp('workspace')
    make_shapes(folder / 'data/shapes', train=8, val=2, per_class=1,
                val_per_class=1)
    cfg = Config.fromfile(config_of(root, '')).model.backbone
    path = folder / cfg.init_cfg.checkpoint
    path.parent.mkdir(parents=True)
    torch.save(plain_vit(arch=dict(cfg.arch)).state_dict(), path)
    return folder


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    yield
    DefaultScope._instance_dict.clear()


@pytest.mark.parametrize('task', [
    pytest.param(task, id=task or 'classification',
                 marks=() if task in ('', 'upernet_') else pytest.mark.slow)
    for task in TASKS])
def test_vit_trains_and_its_checkpoint_reproduces_the_metric(
        root, task, tmp_path):
    config = config_of(root, task), 'mona'
    run = train(config, tmp_path / 'train')
    assert run.losses and all(map(math.isfinite, run.losses))
    base = torch.load('work_dirs/quickstart/vit-nano.pth')
    state, own = run.backbone.state_dict(), run.backbone.base_parameters()
    for key, value in base.items():
        if key in own:  # a task without a final norm has none
            moved = not torch.equal(state[key], value)
            assert moved == own[key].requires_grad, key
    for key, value in run.before.items():
        assert not torch.equal(state[key], value), f'{key} did not move'
    again = metrics_of(config, tmp_path / 'test',
                       tmp_path / 'train/epoch_1.pth')
    assert run.metrics
    for key, value in run.metrics.items():
        assert again[key] == pytest.approx(value, abs=1e-12, nan_ok=True), key


@pytest.mark.parametrize('tuner, options', [
    ('mona', {}),
    # The class token feeds no map; the last block and the final norm none.
    pytest.param('full', {
        'model.backbone.out_indices': '(0,1,2,2)',
        'model.backbone.final_norm': 'True'}, marks=pytest.mark.slow)])
def test_two_processes_wait_for_no_parameter_of_a_vit(root, tmp_path, tuner,
                                                      options):
    """Without a search for unused parameters, which would hide them."""
    config = tmp_path / 'probed.py'
    config.write_text(
        f"_base_ = ['{config_of(root, 'upernet_')}']\n"
        "custom_imports = dict(imports=['probe'])\n"
        "custom_hooks = [dict(type='ProbeHook')]\n")
    words = [f'{k}={v}' for k, v in {**SHORT, **options}.items()]
    done = run_distributed(
        root, 'dist_train.sh', str(config), '2', '--tuner', tuner,
        '--work-dir', str(tmp_path), '--cfg-options', *words)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f'rank{r}.pth') for r in (0, 1))
    assert first['find_unused_parameters'] is False
    for key, value in first['after'].items():
        if 'running_' not in key:  # BN statistics are each process's own
            assert torch.equal(value, second['after'][key]), key
        moved = not torch.equal(value, first['before'][key])
        if key in first['trained'] or key in first['frozen']:
            assert moved == (key in first['trained']), key
    assert ('backbone.cls_token' in first['trained']) == (tuner == 'full')
    assert 'backbone.ln1.weight' not in first['trained']
