"""Tiny models of every library, two deltas each, and generated pictures."""
import copy
from types import SimpleNamespace

import pytest
import torch
from deltas import move, save_delta
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from paths import ROOT

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.research.shapes import TARGET_CLASSES, make_shapes

ARCH = dict(embed_dims=8, depths=[1] * 4, num_heads=[1, 1, 2, 2])
BASE = 'work_dirs/quickstart/base.pth'
#: {library: quickstart config, what is small about it, where pictures are}
FAMILIES = {
    'mmdet': ('retinanet_swin-nano-mona_shapes', {
        'model.neck.in_channels': [16, 32, 64],
        'model.bbox_head.stacked_convs': 1,
        'model.test_cfg.score_thr': 0.0,
        'model.test_cfg.max_per_img': 5},
        'VOCdevkit/VOC2007/JPEGImages/val_00000.jpg'),
    'masks': ('cascade-mask-rcnn_swin-nano-mona_shapes', {
        'model.neck.in_channels': [8, 16, 32, 64],
        'model.test_cfg.rpn.max_per_img': 8,
        'model.test_cfg.rcnn.score_thr': 0.0,
        'model.test_cfg.rcnn.max_per_img': 5}, 'coco/val/val_00000.jpg'),
    'mmseg': ('upernet_swin-nano-mona_shapes', {
        'model.decode_head.in_channels': [8, 16, 32, 64],
        'model.auxiliary_head.in_channels': 32},
        'ade/images/validation/val_00000.jpg'),
    'mmpretrain': ('swin-nano-mona_shapes', {
        'model.head.in_channels': 64}, 'folders/val/star/star_00000.jpg'),
    'mmrotate': ('oriented-rcnn_swin-nano-mona_shapes', {
        'model.neck.in_channels': [8, 16, 32, 64],
        'model.test_cfg.rpn.max_per_img': 8,
        'model.test_cfg.rcnn.score_thr': 0.0,
        'model.test_cfg.rcnn.max_per_img': 5},
        'dota/val/images/val_00000.png'),
}


@pytest.fixture(scope='session')
def shop(tmp_path_factory):
    """A folder to work in; ``made(family)`` adds a family once."""
    folder = tmp_path_factory.mktemp('demo')
    make_shapes(folder / 'data/shapes', train=2, val=2, per_class=1,
                val_per_class=1)
    base = folder / BASE
    base.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(TunedSwinTransformer(
        arch=ARCH, window_size=4, out_indices=()).state_dict(), base)
    done = {}

    def made(family: str) -> SimpleNamespace:
        if family not in done:
            done[family] = _family(folder, family)
        return done[family]

    return SimpleNamespace(folder=folder, made=made)


@pytest.fixture(autouse=True)
def _inside(shop, monkeypatch):
    monkeypatch.chdir(shop.folder)
    yield
    DefaultScope._instance_dict.clear()


def _family(folder, family) -> SimpleNamespace:
    name, small, picture = FAMILIES[family]
    cfg = Config.fromfile(ROOT / f'configs/quickstart/{name}.py')
    cfg.model.backbone.arch = ARCH
    cfg.model.backbone.init_cfg.checkpoint = BASE
    cfg.merge_from_dict(small)
    path = folder / f'{family}.py'
    cfg.dump(path)
    meta = dict(cfg=cfg.pretty_text,
                dataset_meta=dict(classes=cfg.get('metainfo', {}).get(
                    'classes', sorted(TARGET_CLASSES))))
    if palette := cfg.get('metainfo', {}).get('palette'):
        meta['dataset_meta']['palette'] = palette
    deltas = {}
    for title, tuner, seed in (('one', None, 1), ('two', None, 2),
                               ('lora', dict(type='LoRA'), 3)):
        described = copy.deepcopy(cfg.model)
        if tuner:
            described.backbone.type = 'mona_mm.TunedSwinTransformer'
            described.backbone.tuner = tuner
        init_default_scope(cfg.default_scope)
        torch.manual_seed(seed)
        model = MODELS.build(described)
        model.backbone.init_weights()
        deltas[title] = str(save_delta(
            move(model, seed), folder / f'{family}-{title}.pth', meta=meta))
    return SimpleNamespace(
        config=str(path), picture=f'data/shapes/{picture}', **deltas)
