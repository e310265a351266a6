"""Checkpoints of tuned ViTs: everything that Swin's can do."""
import json
import runpy

import numpy as np
import pytest
import torch
from deltas import move, same_state, save_delta
from helpers import image
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from vits import NANO, nano_vit, plain_vit, shake

from mona_mm.backbones.counting import count_backbone
from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.merge import merge_delta
from mona_mm.checkpoint.models import build, load_all
from mona_mm.checkpoint.switch import DeltaSwitch
from mona_mm.engine.launch import read_config
from mona_mm.errors import CheckpointError

IMAGE = np.random.RandomState(0).randint(0, 255, (96, 96, 3), np.uint8)
CONFIG = """default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mona_mm.TunedVisionTransformer',
        tuner=dict(type='{tuner}'),
        arch={arch},
        img_size=64,
        out_type='avg_featmap',
        final_norm=False,
        layer_scale_init_value=.1,{extra}
        init_cfg=dict(type='Pretrained', checkpoint='{base}')),
    neck=None,
    head=dict(type='LinearClsHead', num_classes=3, in_channels=32))
"""


@pytest.fixture(autouse=True)
def _forget_scope():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp('vit') / 'base.pth'
    plain = plain_vit(layer_scale_init_value=.1)
    shake(plain)
    torch.save(dict(state_dict=plain.state_dict()), path)
    return path


def config_of(tmp_path, tuner, base, extra='') -> str:
    path = tmp_path / f'{tuner.lower()}.py'
    path.write_text(CONFIG.format(
        tuner=tuner, arch=NANO, base=base, extra=extra))
    return str(path)


def trained(config, seed=1):
    model = build(read_config(config))
    model.backbone.init_weights()
    return move(model, seed)


def based(tuner, base, **kwargs):
    net = nano_vit(tuner, allow_random_base=False,
                   layer_scale_init_value=.1, init_cfg=dict(
                       type='Pretrained', checkpoint=str(base)), **kwargs)
    net.init_weights()
    return net


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
@pytest.mark.parametrize('tuner', ['Mona', 'LoRA', 'NormTuning'])
def test_delta_leaves_the_base_out_and_finds_it_again(
        tuner, ending, base, tmp_path):
    config = config_of(tmp_path, tuner, base)
    model = trained(config)
    path = tmp_path / f'delta.{ending}'
    save_delta(model, path)
    stored = read_checkpoint(str(path))['state_dict']
    assert 'backbone.pos_embed' not in stored
    assert {k.removeprefix('backbone.') for k in stored
            if k.startswith('backbone.')} == {
        n for n, p in model.backbone.named_parameters() if p.requires_grad
    } | {n for n in model.backbone.state_dict()
         if n not in model.backbone.frozen.names}
    again = build(read_config(config))
    load_all(again, read_checkpoint(str(path)), str(path))
    assert same_state(model, again.eval() or again)


def test_delta_of_another_vit_is_refused_with_the_difference(base, tmp_path):
    save_delta(move(torch.nn.ModuleDict(dict(backbone=based('Mona', base)))),
               tmp_path / 'delta.pth')
    state = read_checkpoint(str(tmp_path / 'delta.pth'))['state_dict']
    for kwargs, told in (
            (dict(window_size=3), 'window_size'),
            (dict(out_indices=(1, 3)), 'out_indices'),
            (dict(img_size=80), 'img_size'),
            (dict(arch=dict(NANO, num_heads=4)), 'num_heads')):
        other = torch.nn.ModuleDict(dict(
            backbone=based('Mona', base, **kwargs)))
        with pytest.raises(CheckpointError, match=told):
            other.load_state_dict(state)


@pytest.mark.parametrize('tuner', ['LoRA', 'Full', 'Partial'])
def test_merged_file_is_mmpretrains_own(tuner, base, tmp_path):
    config = config_of(tmp_path, tuner, base, 'out_indices=(1, -1),')
    model = trained(config)
    save_delta(model, tmp_path / 'delta.pth')
    lines = merge_delta(config, str(tmp_path / 'delta.pth'),
                        str(tmp_path / 'plain.pth'))
    assert 'VisionTransformer of the mm libraries' in lines[0]
    content = read_checkpoint(str(tmp_path / 'plain.pth'))
    cfg = Config.fromstring(content['meta']['cfg'], '.py')
    assert cfg.model.backbone.type == 'mmpretrain.VisionTransformer'
    init_default_scope('mmpretrain')
    plain = MODELS.build(cfg.model)
    plain.load_state_dict(content['state_dict'], strict=True)
    with torch.no_grad():
        torch.testing.assert_close(
            plain.eval().backbone(image()), model.backbone(image()),
            atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('tuner, extra', [
    ('Mona', ''), ('Full', 'window_size=3,')])
def test_what_no_plain_vit_computes_is_written_with_its_tuner(
        tuner, extra, base, tmp_path):
    config = config_of(tmp_path, tuner, base, extra)
    model = trained(config)
    save_delta(model, tmp_path / 'delta.pth')
    lines = merge_delta(config, str(tmp_path / 'delta.pth'),
                        str(tmp_path / 'whole.pth'))
    assert 'written with the tuner' in lines[1]
    base.rename(base.with_suffix('.away'))  # it is not needed
    try:
        again = build(read_config(config))
        load_all(again, read_checkpoint(str(tmp_path / 'whole.pth')), 'it')
    finally:
        base.with_suffix('.away').rename(base)
    assert same_state(model, again.eval() or again)


@pytest.mark.parametrize('tuner', ['Mona', 'LoRA', 'NormTuning'])
def test_deltas_change_places_and_off_is_the_plain_base(
        tuner, base, tmp_path):
    files, expected = {}, {}
    x = image(1, 3, 64, 64)
    for name, seed in (('one', 1), ('two', 2)):
        model = torch.nn.ModuleDict(dict(backbone=based(tuner, base)))
        net = move(model, seed)['backbone']
        files[name] = str(save_delta(model, tmp_path / f'{name}.pth'))
        expected[name] = net(x)[0].detach()
    expected[None] = based('Fixed', base).eval()(x)[0]
    switch = DeltaSwitch(net)
    for name, path in files.items():
        switch.load(name, path)
    for name in ('one', None, 'two', 'one', None):
        switch.use(name)
        assert torch.equal(net(x)[0], expected[name]), name


def test_counting_is_by_block(base, tmp_path):
    counts = count_backbone(read_config(config_of(tmp_path, 'Mona', base)))
    # (2n + 5)m + n^2 + 88n per layer, m = 32 and n = 64; two per block.
    layer = 133 * 32 + 64 * 64 + 88 * 64
    assert counts['trained'] == counts['inserted'] == 8 * layer
    assert counts['by_stage'] == {f'block {i}': 2 * layer for i in range(4)}
    assert counts['by_site'] == {'after_attn': 4 * layer,
                                 'after_ffn': 4 * layer}


@pytest.fixture(scope='module')
def folder(root, tmp_path_factory):
    """Per task a config, a full file and a delta, on one tiny base."""
    folder = tmp_path_factory.mktemp('entry')
    path = folder / 'base.pth'
    for task in ('retinanet_', 'upernet_', 'classifier_'):
        cfg = Config.fromfile(
            root / 'configs/quickstart' / (task.replace(
                'classifier_', '') + 'vit-nano_shapes.py'))
        described = cfg.model.backbone
        described.tuner = dict(type='Mona', bottleneck_dims=8)
        described.init_cfg.checkpoint = str(path)
        if not path.exists():
            torch.save(plain_vit(arch=dict(described.arch)).state_dict(),
                       path)
        cfg.dump(folder / f'{task}.py')
        init_default_scope(cfg.default_scope)
        model = MODELS.build(cfg.model)
        model.backbone.init_weights()
        move(model)
        meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(
            classes=tuple('abcdefg'), palette=[(i, 9, 9) for i in range(7)]))
        for kind in ('full', 'delta'):
            save_delta(model, folder / f'{task}{kind}.pth', kind == 'full',
                       meta=dict(meta))
    DefaultScope._instance_dict.clear()
    return folder


def detect(config, path):
    from mmdet.apis import DetInferencer
    found = DetInferencer(config, path, device='cpu')(
        IMAGE, return_datasamples=True)['predictions'][0].pred_instances
    return [found.bboxes, found.scores]


def segment(config, path):
    from mmseg.apis import MMSegInferencer
    found = MMSegInferencer(config, path, device='cpu')(
        IMAGE, return_datasamples=True)
    return [found.seg_logits.data]


def classify(config, path):
    from mmpretrain import ImageClassificationInferencer
    found = ImageClassificationInferencer(
        config, pretrained=path, device='cpu')(IMAGE)
    return [torch.as_tensor(found[0]['pred_scores'])]


@pytest.mark.parametrize('way, task', [
    (detect, 'retinanet_'), (segment, 'upernet_'), (classify, 'classifier_')])
def test_inferencers_refill_the_base(way, task, folder):
    results = [way(str(folder / f'{task}.py'), str(
        folder / f'{task}{kind}.pth')) for kind in ('full', 'delta')]
    for a, b in zip(*results):
        assert torch.equal(a, b) and a.numel()


def test_benchmark_measures_a_vit(root, tmp_path):
    out = tmp_path / 'found.json'
    runpy.run_path(str(root / 'tools/benchmark.py'))['main']([
        str(root / 'configs/quickstart/retinanet_vit-nano_shapes.py'),
        '--methods', 'mona,fixed', '--against', 'full', '--sizes', '1x64',
        '--only', 'saved,time', '--runs', '1', '--warmup', '0', '--device',
        'cpu', '--json', str(out)])
    assert 'mona' in json.dumps(json.loads(out.read_text())).lower()
