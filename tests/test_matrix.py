"""Every method in every backbone family in every task: all enumerated.

A cell is a real run of a quickstart's config on a family's smallest network:
two or three steps from a base in its library's layout, one evaluation, and the
checkpoint that was saved loaded into a new model.
"""
import gc
import math
from multiprocessing import dummy

import mmrotate.evaluation.functional.mean_ap as rotated_map
import pytest
import torch
from families import FAMILIES, TINY, library, refuses, tiny
from helpers import new_name
from mmengine.config import Config
from mmengine.registry import DefaultScope
from test_training import FAMILIES as TASKS
from test_training import SHORT, arguments, config_of
from yapf.yapflib import yapf_api

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.models import build
from mona_mm.config import tuner_fragments
from mona_mm.engine import launch, preflight
from mona_mm.research.shapes import make_shapes
from mona_mm.tuners.base import known_tuners, tuner_class

pytestmark = pytest.mark.slow
#: One class per family: the paper's name for Swin adds nothing here.
CLASSES = [n for n in FAMILIES if n != 'SwinTransformerMona']


@pytest.fixture(scope='module')
def workspace(tmp_path_factory):
    """A folder with tiny data, and a base of every family."""
    folder = tmp_path_factory.mktemp('workspace')
    make_shapes(folder / 'data/shapes', train=4, val=2, per_class=1,
                val_per_class=1, source_per_class=1)
    for name in CLASSES:
        torch.save(library(name).state_dict(), folder / f'{name}.pth')
    gc.collect()
    gc.freeze()  # every dataset has the garbage of all libraries collected
    yield folder
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _inside(workspace, monkeypatch):
    monkeypatch.chdir(workspace)
    # What would take longer than all the rest: four processes that import
    # everything, and the layout of configs that nobody reads.
    monkeypatch.setattr(rotated_map, 'get_context', lambda method: dummy)
    monkeypatch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, True))
    yield
    DefaultScope._instance_dict.clear()


def put(node, old: int, new: int):
    """A part of a config with another number wherever one stands in it."""
    if isinstance(node, dict):
        return {k: put(v, old, new) for k, v in node.items()}
    if isinstance(node, (list, tuple)):
        return [put(v, old, new) for v in node]
    return new if type(node) is int and node == old else node


def compose(root, task, name, tuner) -> Config:
    """A quickstart on a family's smallest network."""
    config = config_of(root, task, '')
    cfg = Config.fromfile(config)
    method = Config.fromfile(tuner_fragments()[tuner.lower()]).tuner.to_dict()
    backbone = dict(
        TINY[name].args, type=f'mona_mm.{name}', tuner=method,
        drop_path_rate=0.,  # so that two steps move everything
        init_cfg=dict(type='Pretrained', checkpoint=f'{name}.pth'))
    net, side = tiny(name, method), TINY[name].side
    widths = [m.shape[1] for m in net.eval()(torch.zeros(1, 3, side, side))]
    wanted = cfg.model.backbone.out_indices
    if len(widths) == 1:  # a plain network
        cfg = Config.fromfile(config.replace('swin', 'vit'))
        usual = cfg.model.backbone
        for part in ('neck', 'decode_head', 'auxiliary_head', 'head'):
            if part in cfg.model:
                cfg.model[part] = put(cfg.model[part], usual.arch.embed_dims,
                                      *widths)
        backbone = {**usual, **backbone}
    else:
        if 'side' in net.tuner.sites:  # it gives all of its maps
            if task == 'retinanet':
                cfg.model.neck.start_level = 1
        else:
            backbone['out_indices'] = wanted
            widths = [widths[i] for i in wanted]
        if task == 'upernet':
            cfg.model.decode_head.in_channels = widths
            cfg.model.auxiliary_head.in_channels = widths[2]
        elif task:
            cfg.model.neck.in_channels = widths
        else:
            cfg.model.head.in_channels = widths[-1]
    cfg.model.backbone = backbone
    return cfg


def check(root, task, name, tuner, folder):
    compose(root, task, name, tuner).dump(folder / 'config.py')
    cfg = launch.load_config(arguments(
        str(folder / 'config.py'), folder / 'work', **SHORT, **{
            'default_hooks.checkpoint.save_best': None}))
    cfg.experiment_name = new_name(folder.name)
    preflight.preflight(cfg, ('train', 'val'))
    base, seen = torch.load(f'{name}.pth'), {}

    def job(runner):
        backbone = runner.model.backbone
        seen['before'] = {
            k: p.clone() for k, p in backbone.delta_parameters().items()}
        runner.train()
        seen.update(runner.message_hub.log_scalars, model=runner.model)

    launch.run(cfg, job)
    model, backbone = seen['model'], seen['model'].backbone
    losses = seen['train/loss'].data[0]
    assert len(losses) in (2, 3) and all(map(math.isfinite, losses))
    assert any(k.startswith('val/') and not k.endswith('time') for k in seen)
    state = backbone.state_dict()
    # All but norms of outputs, which a base does not have.
    own = {k: p for k, p in backbone.base_parameters().items() if k in base}
    assert len(own) > .9 * len(backbone.base_parameters())
    moved = {k for k in own if not torch.equal(state[k], base[k])}
    released = {k for k, p in own.items() if p.requires_grad}
    assert moved <= released and bool(moved) == bool(released)
    for key, value in seen['before'].items():
        assert not torch.equal(state[key], value), f'{key} did not move'
    content = read_checkpoint(str(folder / 'work/epoch_1.pth'))
    kept = {k.removeprefix('backbone.') for k in content['state_dict']}
    assert not kept & backbone.frozen.names
    assert backbone.delta_names <= kept
    fresh = build(cfg)
    fresh.load_state_dict(content['state_dict'])
    trained = model.state_dict()
    for key, value in fresh.state_dict().items():
        assert torch.equal(value, trained[key]), key


@pytest.mark.parametrize('tuner', known_tuners())
@pytest.mark.parametrize('name', CLASSES)
@pytest.mark.parametrize('task', [
    pytest.param(task, id=task or 'classification') for task in TASKS])
def test_method_trains_and_is_loaded_again(root, task, name, tuner, tmp_path):
    if refuses(name, tuner_class(tuner)):
        with pytest.raises(ValueError, match='cannot be served'):
            compose(root, task, name, tuner)
    else:
        check(root, task, name, tuner, tmp_path)
