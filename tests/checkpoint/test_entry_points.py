"""A delta file means the same through every way that a file is loaded."""
import argparse
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from deltas import move, save_delta
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from mmengine.runner import Runner

from mona_mm.backbones import TunedSwinTransformer
from mona_mm.engine import launch
from mona_mm.errors import CheckpointError

IMAGE = np.random.RandomState(0).randint(0, 255, (96, 96, 3), np.uint8)
BASE = 'work_dirs/quickstart/base.pth'
#: Heads that are as small as they can be, for speed.
SMALL = {
    'retinanet': {'model.bbox_head.stacked_convs': 1},
    'upernet': {},
    'oriented-rcnn': {
        'model.roi_head.bbox_head.fc_out_channels': 32,
        'model.rpn_head.feat_channels': 16},
    'classifier': {},
}


def config_of(root, family) -> Config:
    name = '_'.join(filter(None, [
        family.replace('classifier', ''), 'swin-nano-mona_shapes.py']))
    cfg = Config.fromfile(root / 'configs/quickstart' / name)
    cfg.merge_from_dict(SMALL[family])
    cfg.model.backbone.arch = dict(
        embed_dims=32, depths=[1] * 4, num_heads=[1, 2, 4, 8])
    cfg.model.backbone.init_cfg.checkpoint = BASE
    return cfg


@pytest.fixture(scope='module')
def folder(root, tmp_path_factory):
    """A folder with a base, and per family a config, a full and a delta."""
    folder = tmp_path_factory.mktemp('entry')
    base = folder / BASE
    base.parent.mkdir(parents=True)
    for family in SMALL:
        cfg = config_of(root, family)
        described = cfg.model.backbone
        if not base.exists():
            net = TunedSwinTransformer(
                arch=described.arch, window_size=described.window_size,
                out_indices=())
            torch.save(net.state_dict(), base)
        cfg.dump(folder / f'{family}.py')
        described.init_cfg.checkpoint = str(base)
        init_default_scope(cfg.default_scope)
        model = MODELS.build(cfg.model)
        model.backbone.init_weights()
        described.init_cfg.checkpoint = BASE
        model.backbone.frozen.source = model.backbone.base._replace(
            source=BASE)
        move(model)
        meta = dict(cfg=cfg.pretty_text,
                    dataset_meta=dict(classes=tuple('abcdefg'),
                                      palette=[(i, 9, 9) for i in range(7)]))
        for kind in ('full', 'delta'):
            save_delta(model, folder / f'{family}-{kind}.pth',
                       kind == 'full', meta=dict(meta))
        save_delta(model, folder / f'{family}-delta.safetensors',
                   meta=dict(meta))
    DefaultScope._instance_dict.clear()
    return folder


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    yield
    DefaultScope._instance_dict.clear()


def of_mmdet(family, path):
    from mmdet.apis import inference_detector, init_detector
    model = init_detector(f'{family}.py', path, device='cpu')
    found = inference_detector(model, IMAGE).pred_instances
    return model, [found.bboxes, found.scores, found.labels]


def of_det_inferencer(family, path):
    from mmdet.apis import DetInferencer
    inferencer = DetInferencer(f'{family}.py', path, device='cpu')
    found = inferencer(IMAGE, return_datasamples=True)['predictions'][0]
    return inferencer.model, [
        found.pred_instances.bboxes, found.pred_instances.scores]


def of_det_inferencer_alone(family, path):
    from mmdet.apis import DetInferencer
    inferencer = DetInferencer(None, path, device='cpu')
    found = inferencer(IMAGE, return_datasamples=True)['predictions'][0]
    return inferencer.model, [
        found.pred_instances.bboxes, found.pred_instances.scores]


def of_mmseg(family, path):
    from mmseg.apis import inference_model, init_model
    model = init_model(f'{family}.py', path, device='cpu')
    return model, [inference_model(model, IMAGE).seg_logits.data]


def of_seg_inferencer(family, path):
    from mmseg.apis import MMSegInferencer
    inferencer = MMSegInferencer(f'{family}.py', path, device='cpu')
    found = inferencer(IMAGE, return_datasamples=True)
    return inferencer.model, [found.seg_logits.data]


def of_mmpretrain(family, path):
    from mmpretrain import get_model
    model = get_model(f'{family}.py', pretrained=path, device='cpu')
    with torch.no_grad():
        return model, [model(torch.ones(1, 3, 64, 64))[-1]]


def of_cls_inferencer(family, path):
    from mmpretrain import ImageClassificationInferencer
    inferencer = ImageClassificationInferencer(
        f'{family}.py', pretrained=path, device='cpu')
    return inferencer.model, [inferencer(IMAGE)[0]['pred_scores']]


def of_runner(family, path):
    cfg = Config.fromfile(f'{family}.py')
    runner = Runner(
        cfg.model, 'work', load_from=path, default_scope=cfg.default_scope,
        experiment_name=f'{family}-{path}', log_level='ERROR')
    runner.load_or_resume()
    model = runner.model.eval()
    with torch.no_grad():
        return model, list(model.backbone(torch.ones(1, 3, 64, 64)))


WAYS = [
    (of_mmdet, 'retinanet'), (of_det_inferencer, 'retinanet'),
    (of_det_inferencer_alone, 'retinanet'), (of_mmdet, 'oriented-rcnn'),
    (of_mmseg, 'upernet'), (of_seg_inferencer, 'upernet'),
    (of_mmpretrain, 'classifier'), (of_cls_inferencer, 'classifier'),
    (of_runner, 'upernet'),
]


@pytest.mark.parametrize(
    'way, family', WAYS, ids=[f'{w.__name__}-{f}' for w, f in WAYS])
def test_full_delta_and_safetensors_give_the_same(way, family, caplog):
    results = {
        name: way(family, f'{family}-{name}')
        for name in ('full.pth', 'delta.pth', 'delta.safetensors')}
    state, expected = results['full.pth'][0].state_dict(), results[
        'full.pth'][1]
    for model, outputs in results.values():
        own = model.state_dict()
        assert all(torch.equal(own[k], v) for k, v in state.items())
        for ours, theirs in zip(outputs, expected):
            assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    assert 'missing keys' not in caplog.text


@pytest.mark.parametrize(
    'way, family', WAYS, ids=[f'{w.__name__}-{f}' for w, f in WAYS])
def test_delta_without_its_base_is_refused(
        way, family, tmp_path, monkeypatch, folder):
    for file in folder.glob(f'{family}*'):
        if file.suffix in ('.py', '.pth'):
            (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError,
                       match='needs the frozen base.*base.pth'):
        way(family, f'{family}-delta.pth')


def test_example_of_several_tasks_on_one_base_runs_as_it_is_printed(
        root, folder, monkeypatch):
    text = (root / 'docs/checkpoints.md').read_text()
    trainings, example = re.findall(
        r'milliseconds\..*?```bash\n(.*?)```\n+```python\n(.*?)```', text,
        re.S)[0]
    # What its two commands leave behind: the last checkpoint of each.
    parser = argparse.ArgumentParser()
    launch.add_common_arguments(parser)
    for line in trainings.splitlines():
        words = line.removeprefix('python tools/train.py ').split()
        monkeypatch.chdir(root)
        cfg = launch.load_config(parser.parse_args(words))
        monkeypatch.chdir(folder)
        saves = cfg.default_hooks.checkpoint
        assert saves.get('by_epoch', True) and saves.interval == 1
        family = Path(words[0]).name.split('_')[0]
        Path(words[0]).parent.mkdir(parents=True, exist_ok=True)
        Path(words[0]).write_text(Path(f'{family}.py').read_text())
        Path(cfg.work_dir).mkdir(parents=True)
        Path(cfg.work_dir, f'epoch_{cfg.train_cfg.max_epochs}.pth'
             ).write_bytes(Path(f'{family}-delta.pth').read_bytes())
    boxes = config_of(root, 'oriented-rcnn').val_dataloader.dataset
    pictures = Path(boxes.data_root, boxes.data_prefix.img_path)
    pictures.mkdir(parents=True)
    cv2.imwrite(str(pictures / 'P0001.png'), IMAGE)
    found = {}
    exec(example, found)
    _, (logits, ) = of_mmseg('upernet', 'upernet-full.pth')
    assert torch.equal(found['regions'].seg_logits.data, logits)
    init_default_scope('mmrotate')
    _, (boxes, scores, _) = of_mmdet('oriented-rcnn',
                                     'oriented-rcnn-full.pth')
    assert torch.equal(found['boxes'].pred_instances.scores, scores)
    assert len(scores) > 0
