"""Configs for one's own data, run on small real datasets as the page says.

The tools run as from the command line, in a folder where the configs find
their data; only the number of images and of epochs is cut.
"""
import math
import multiprocessing.dummy
import re
import runpy

import pytest
import torch
from helpers import shipped_base
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.registry import DATASETS, DefaultScope, init_default_scope

from mona_mm.engine import launch

#: {config: (images per step and per evaluation, steps)}. Detectors that find
#: nothing yet score zero; some steps later there are digits to compare.
CONFIGS = {
    'retinanet_swin-nano-mona_bccd': (2, 2),
    'cascade-mask-rcnn_swin-nano-mona_fruits-nuts': (4, 15),
    'upernet_swin-nano-mona_fruits-nuts': (2, 2),
    'oriented-rcnn_swin-nano-mona_fruits-nuts': (4, 25),
    'oriented-rcnn_swin-nano-mona_dota-sample': (1, 2),
    'swin-nano-mona_digits': (10, 2),
}
#: Every box is kept, so that a detector that knows little scores above zero.
KEEP_ALL = {
    'retinanet': {'model.test_cfg.score_thr': 0.},
    'cascade-mask-rcnn': {'model.test_cfg.rcnn.score_thr': 0.},
    'oriented-rcnn': {'model.test_cfg.rcnn.score_thr': 0.},
}


def config_of(root, name) -> str:
    return str(root / 'configs/own_data' / f'{name}.py')


def snippets(root) -> list:
    """The scripts in the page, which write data."""
    text = (root / 'docs/own_data.md').read_text()
    return re.findall(r'```python\n(.*?)```', text, re.DOTALL)


@pytest.fixture(scope='module')
def workspace(root, real_data, tmp_path_factory):
    """A folder with the data and a random base where configs expect them."""
    for tool in ('sklearn', 'pycocotools', 'cv2'):
        pytest.importorskip(tool)
    folder = tmp_path_factory.mktemp('workspace')
    (folder / 'data').mkdir()
    for name in ('BCCD', 'fruits_nuts', 'dota_sample'):
        if not (real_data / name).is_dir():
            pytest.skip(f'needs {name}, looked for in {real_data}')
        (folder / 'data' / name).symlink_to(real_data / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # The configs on the page are not run here.
        scripts = [s for s in snippets(root) if '_base_ =' not in s]
        assert len(scripts) == 2
        for script in scripts:
            exec(script, {})
    return folder


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    # DOTA's metric starts processes, which takes longer than all the rest;
    # threads compute the same.
    monkeypatch.setattr('mmrotate.evaluation.functional.mean_ap.get_context',
                        lambda method: multiprocessing.dummy)
    yield
    DefaultScope._instance_dict.clear()


class Watch(Hook):
    """Remembers the backbone as it was when training began."""

    def before_train(self, runner):
        self.backbone = runner.model.backbone
        self.before = {
            k: v.clone() for k, v in self.backbone.state_dict().items()}


@pytest.fixture
def watch(monkeypatch):
    hook, run = Watch(), launch.run

    def watched(cfg, job, *rest):
        def watched_job(runner):
            runner.register_hook(hook)
            return job(runner)

        return run(cfg, watched_job, *rest)

    monkeypatch.setattr(launch, 'run', watched)
    return hook


def call(root, tool, *words, **options) -> MessageHub:
    """Run a tool as from the command line; what it logged."""
    options = [f'{k}={v}' for k, v in options.items()]
    main = runpy.run_path(str(root / f'tools/{tool}.py'))['main']
    main([*map(str, words), '--cfg-options', *options])
    return MessageHub.get_current_instance()


def metrics(hub, phase) -> dict:
    return {
        k.removeprefix(f'{phase}/'): v.current()
        for k, v in hub.log_scalars.items()
        if k.startswith(f'{phase}/') and not k.endswith('time')}


def check_moves(watch):
    base = shipped_base()
    state = watch.backbone.state_dict()
    for key, value in base.items():
        assert torch.equal(state[key], value), f'{key} was frozen'
    delta = watch.backbone.delta_parameters()
    assert delta
    for key in delta:
        moved = not torch.equal(state[key], watch.before[key])
        assert moved, f'{key} did not move'


@pytest.mark.parametrize('name', [
    pytest.param(name, marks=pytest.mark.slow if name.startswith(
        ('oriented', 'cascade')) else ()) for name in CONFIGS])
def test_config_trains_on_real_data_and_its_checkpoint_scores_the_same(
        root, name, watch, tmp_path):
    images, steps = CONFIGS[name]
    few = {
        f'{phase}_dataloader.dataset.indices': images
        for phase in ('train', 'val', 'test')}
    few.update(KEEP_ALL.get(name.split('_')[0], {}), **{
        'randomness.seed': 0, 'train_dataloader.batch_size': images})
    trained = call(
        root, 'train', config_of(root, name), '--work-dir', tmp_path,
        **few, **{
            'train_cfg.max_epochs': steps, 'train_cfg.val_interval': steps,
            'default_hooks.checkpoint.interval': steps,
            'param_scheduler': []})
    (losses, _) = trained.log_scalars['train/loss'].data
    assert len(losses) == steps and all(map(math.isfinite, losses))
    check_moves(watch)
    tested = call(
        root, 'test', config_of(root, name),
        tmp_path / f'epoch_{steps}.pth', '--work-dir', tmp_path / 'test',
        **few)
    assert tested is not trained
    expected = metrics(trained, 'val')
    if 'dota-sample' not in name:  # almost all of its boxes are outside
        assert any(v > 0 for v in expected.values()), expected
    assert metrics(tested, 'test') == pytest.approx(
        expected, abs=0, rel=0, nan_ok=True)


def test_boxes_without_area_are_left_out_of_the_loss(root):
    # BCCD has two, as published; their loss would be infinite.
    cfg = Config.fromfile(config_of(root, 'retinanet_swin-nano-mona_bccd'))
    init_default_scope('mmdet')
    records = DATASETS.build(cfg.train_dataloader.dataset)
    boxes = torch.tensor([
        [*instance['bbox'], instance['ignore_flag']] for i in
        range(len(records)) for instance in records.get_data_info(i)[
            'instances']])
    empty = (boxes[:, 2:4] <= boxes[:, :2]).any(1)
    assert empty.sum() == 2
    assert boxes[empty, 4].all() and not boxes[~empty, 4].any()
