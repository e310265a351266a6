"""Full files become deltas, deltas become plain files, and both are told."""
import hashlib
import importlib
import os
import re
import runpy
from pathlib import Path

import pytest
import torch
from deltas import MICRO, make_base, micro, move, same_state, save_delta
from helpers import TUNERS, image
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.models import SwinTransformer

from mona_mm.checkpoint import read_checkpoint
from mona_mm.checkpoint.merge import (
    _plain_config,
    merge_delta,
)
from mona_mm.checkpoint.models import build, load_all
from mona_mm.engine.launch import read_config
from mona_mm.errors import CheckpointError, ConfigError
from mona_mm.tuners import build_tuner
from mona_mm.tuners.lora import LoRALinear

FOLDING = ('BitFit', 'DoRA', 'Fixed', 'Full', 'LoRA', 'NormTuning', 'Partial',
           'SSF')
LIBRARIES = {
    'mmdet': 'mmdet.models.backbones.swin',
    'mmseg': 'mmseg.models.backbones.swin',
    'mmpretrain': 'mmpretrain.models.backbones.swin_transformer',
}
CONFIG = """default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mona_mm.TunedSwinTransformer',
        tuner=dict(type='{tuner}'),
        arch={arch},
        init_cfg={init_cfg}),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=64))
"""


@pytest.fixture(autouse=True)
def _forget_scope():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / 'base.pth')


def config_of(tmp_path, tuner, base=None) -> str:
    init_cfg = base and dict(type='Pretrained', checkpoint=str(base))
    path = tmp_path / f'{tuner.lower()}{"" if base else "_bare"}.py'
    path.write_text(CONFIG.format(
        tuner=tuner, arch=MICRO, init_cfg=init_cfg))
    return str(path)


def trained(config):
    model = build(read_config(config))
    model.backbone.init_weights()
    return move(model)


def run(root, tool, *words):
    runpy.run_path(str(root / f'tools/{tool}.py'))['main'](
        list(map(str, words)))


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
@pytest.mark.parametrize('tuner', ['Mona', 'BitFit', 'Full'])
def test_extracted_delta_gives_the_full_model_back(
        tuner, ending, root, tmp_path, base, capsys):
    config = config_of(tmp_path, tuner, base)
    model = trained(config)
    full, out = tmp_path / 'full.pth', tmp_path / f'delta.{ending}'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(
        cfg=read_config(config).pretty_text)), full)
    run(root, 'extract_delta', full, out)
    assert f'{out.stat().st_size:,} bytes instead of' in capsys.readouterr(
    ).out
    assert out.stat().st_size < full.stat().st_size
    fresh = build(read_config(config_of(tmp_path, tuner)))
    load_all(fresh, read_checkpoint(str(out)), str(out))
    assert same_state(fresh, model)


def test_extraction_says_what_is_wrong(root, tmp_path, base):
    config = config_of(tmp_path, 'Mona', base)
    full, out = str(tmp_path / 'full.pth'), str(tmp_path / 'out.pth')
    torch.save(dict(state_dict=trained(config).state_dict()), full)
    with pytest.raises(ConfigError, match='holds no config.*--config'):
        run(root, 'extract_delta', full, out)
    with pytest.raises(CheckpointError, match='is the input itself'):
        run(root, 'extract_delta', full, full)
    with pytest.raises(ConfigError, match='names no base'):
        run(root, 'extract_delta', full, out, '--config',
            config_of(tmp_path, 'Mona'))
    with pytest.raises(CheckpointError, match='missing'):
        run(root, 'extract_delta', full, out, '--config',
            config_of(tmp_path, 'Adapter', base))
    make_base(base, seed=8)
    with pytest.raises(CheckpointError, match='was not trained on the base.*'
                       'frozen tensors differ'):
        run(root, 'extract_delta', full, out, '--config', config)
    assert not (tmp_path / 'out.pth').exists()


def test_plain_config_replaces_the_tuned_backbone_and_nothing_else(root):
    """The detector's own head stays; the plain class takes what is left."""
    cfg = read_config(str(
        root / 'configs/retinanet/retinanet_swin-l-bitfit_1x_voc.py'))
    assert cfg.model.backbone.keep_frozen
    cfg.model.backbone.update(
        arch=MICRO, out_indices=(3, ), init_cfg=None, skip_dropped=True)
    cfg.model.neck.in_channels = [64]
    plain = _plain_config(cfg, build(cfg))
    assert plain.model.bbox_head == cfg.model.bbox_head
    made = MODELS.build(plain.model)
    assert type(made.backbone).__module__.startswith('mmpretrain.')
    assert made.bbox_head.nms_pre_anchors


@pytest.mark.parametrize('tuner', TUNERS)
def test_merged_file_is_plain_where_it_can_be(
        tuner, root, tmp_path, base, capsys):
    config = config_of(tmp_path, tuner, base)
    model = trained(config)
    delta = save_delta(model, tmp_path / 'delta.pth')
    out = tmp_path / 'merged.pth'
    run(root, 'merge_delta', config_of(tmp_path, tuner), delta, out)
    said, content = capsys.readouterr().out, read_checkpoint(str(out))
    if tuner not in FOLDING:
        assert f'what {tuner} inserts computes more' in said
        base.unlink()
        fresh = build(read_config(config_of(tmp_path, tuner)))
        load_all(fresh, content, str(out))
        assert same_state(fresh, model)
        return
    assert 'plain: it loads into' in said
    state = {k.removeprefix('backbone.'): v
             for k, v in content['state_dict'].items()
             if k.startswith('backbone.')}
    with torch.no_grad():
        expected = model.backbone(image(1, 3, 64, 64))
        for library in LIBRARIES:
            plain = vanilla(library)
            plain.load_state_dict(state, strict=True)
            for a, b in zip(plain(image(1, 3, 64, 64)), expected):
                assert torch.allclose(a, b, atol=1e-4, rtol=1e-4), library


def vanilla(library):
    """The library's own Swin."""
    cls = importlib.import_module(LIBRARIES[library]).SwinTransformer
    if library == 'mmpretrain':
        net = cls(arch=MICRO, out_indices=(0, 1, 2, 3), pad_small_map=True)
    else:
        net = cls(out_indices=(0, 1, 2, 3), **MICRO)
    net.eval()  # returns None in some libraries
    return net


def test_merged_config_builds_what_the_merged_file_fits(tmp_path, base):
    config = config_of(tmp_path, 'LoRA', base)
    delta = save_delta(trained(config), tmp_path / 'delta.pth')
    merge_delta(config, str(delta), str(tmp_path / 'merged.pth'))
    content = torch.load(tmp_path / 'merged.pth')
    (tmp_path / 'plain.py').write_text(content['meta']['cfg'])
    from mmpretrain.registry import MODELS
    plain = MODELS.build(read_config(str(tmp_path / 'plain.py')).model)
    plain.load_state_dict(content['state_dict'], strict=True)
    assert type(plain.backbone).__name__ == 'SwinTransformer'


def test_folded_weight_is_the_sum_of_weight_and_update():
    tuner = build_tuner(dict(
        type='LoRA', rank=2, alpha=6, targets=('q', 'v')))
    linear = torch.nn.Linear(4, 12)
    before = linear.weight.detach().clone()
    lora = tuner.adapt('qkv', linear)
    torch.nn.init.normal_(lora.lora_B)
    a, b = lora.lora_A.detach(), lora.lora_B.detach()
    expected = before.clone()
    expected[:4] += 3 * b[:4] @ a[:2]  # alpha / rank = 3; q
    expected[8:] += 3 * b[4:] @ a[2:]  # v; k stays
    merged = lora.merged()['weight']
    assert torch.allclose(merged, expected.double(), atol=1e-6)
    assert torch.equal(lora.weight, before)


def test_merged_model_that_computes_something_else_is_not_written(
        tmp_path, base, monkeypatch):
    config = config_of(tmp_path, 'LoRA', base)
    delta = save_delta(trained(config), tmp_path / 'delta.pth')
    monkeypatch.setattr(LoRALinear, 'merged', lambda m: dict(weight=m.weight))
    with pytest.raises(CheckpointError, match='computes something else'):
        merge_delta(config, str(delta), str(tmp_path / 'out.pth'))
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('tuner', ['LoRA', 'BitFit'])
def test_pictures_of_any_number_of_channels_can_be_merged(tuner, tmp_path):
    torch.manual_seed(0)
    plain = micro('Full', out_indices=(), in_channels=4).state_dict()
    torch.save(dict(state_dict=plain), tmp_path / 'four.pth')
    config = config_of(tmp_path, tuner, tmp_path / 'four.pth')
    text = Path(config).read_text()
    Path(config).write_text(text.replace('arch=', 'in_channels=4, arch='))
    model = trained(config)
    delta = save_delta(model, tmp_path / 'delta.pth')
    merge_delta(config, str(delta), str(tmp_path / 'merged.pth'))
    merged = SwinTransformer(arch=MICRO, in_channels=4, pad_small_map=True)
    state = read_checkpoint(str(tmp_path / 'merged.pth'))['state_dict']
    merged.load_state_dict({
        k.removeprefix('backbone.'): v for k, v in state.items()
        if k.startswith('backbone.')}, strict=False)
    merged.eval()  # it returns None
    pictures = image(1, 4, 64, 64)
    ours, theirs = model.backbone(pictures), merged(pictures)
    torch.testing.assert_close(ours[-1], theirs[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_published_file_has_the_weights_alone_and_its_hash(
        ending, root, tmp_path, base, capsys, monkeypatch):
    config = config_of(tmp_path, 'Mona', base)
    model = trained(config)
    save_delta(model, tmp_path / 'run.pth', meta=dict(epoch=3),
               optimizer=dict(state=torch.zeros(1 << 16)),
               ema_state_dict={'module.' + k: v for k, v in
                               model.state_dict().items()})
    run(root, 'publish_model', tmp_path / 'run.pth',
        tmp_path / f'out/mona.{ending}')
    path = capsys.readouterr().out.strip().splitlines()[-1]
    digest = re.search(rf'mona-([0-9a-f]{{8}})\.{ending}$', path)[1]
    with open(path, 'rb') as file:
        assert hashlib.sha256(file.read()).hexdigest().startswith(digest)
    assert [str(p) for p in (tmp_path / 'out').iterdir()] == [path]
    content = read_checkpoint(path)
    assert set(content) == {'meta', 'state_dict'}
    fresh = build(read_config(config_of(tmp_path, 'Mona')))
    load_all(fresh, content, path)
    assert same_state(fresh, model)
    if ending == 'safetensors':  # whose header comes in any order
        return
    # Names of temporary files have the process in them.
    monkeypatch.setattr(os, 'getpid', lambda: 2**22)
    run(root, 'publish_model', tmp_path / 'run.pth',
        tmp_path / f'again/mona.{ending}')
    assert [p.name for p in (tmp_path / 'again').iterdir()] == [
        os.path.basename(path)]


def test_name_that_is_no_checkpoints_is_refused(root, tmp_path):
    with pytest.raises(CheckpointError, match="'out.txt'.*ends with .pth"):
        run(root, 'publish_model', 'any.pth', 'out.txt')
