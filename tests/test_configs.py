"""Every config of the project parses, and builds without memory."""
import inspect

import pytest
import torch
import yaml
from conftest import ROOT
from helpers import TUNERS
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mona_mm.backbones import SwinTransformerMona, TunedSwinTransformer

FOLDER = ROOT / 'configs'
CONFIGS = sorted(
    str(p.relative_to(FOLDER)) for p in FOLDER.glob('*/*.py')
    if p.parent.name not in ('_base_', ))
LEAVES = [c for c in CONFIGS if not c.startswith('own_data')]
#: Families with one leaf per method: {folder: (stem, tail)}.
FAMILIES = {
    'cascade_mask_rcnn': ('cascade-mask-rcnn_swin-b', '_3x_coco'),
    'retinanet': ('retinanet_swin-l', '_1x_voc'),
    'upernet': ('upernet_swin-l', '_160k_ade20k'),
    'oriented_rcnn': ('oriented-rcnn_swin-b', '_1x_dota'),
    'swin_classification': ('swin-l', '_100e_flowers102'),
}
QUICK = ('cascade-mask-rcnn_swin-nano', 'retinanet_swin-nano',
         'upernet_swin-nano', 'oriented-rcnn_swin-nano', 'swin-nano')


def suffix(tuner):
    return '' if tuner == 'Full' else f'-{tuner.lower()}'


def parse(name) -> Config:
    return Config.fromfile(FOLDER / name)


@pytest.mark.parametrize('name', CONFIGS)
def test_config_builds_on_the_meta_device(name):
    cfg = parse(name)
    init_default_scope(cfg.default_scope)
    model = cfg.model
    if 'data_preprocessor' in model:
        model.data_preprocessor.pop('size', None)
    with torch.device('meta'):
        net = MODELS.build(model)
    assert isinstance(net.backbone, TunedSwinTransformer)
    assert type(net.backbone.tuner).__name__ == model.backbone.tuner.type
    assert all(p.is_meta for p in net.backbone.parameters())


@pytest.mark.parametrize('name', CONFIGS)
def test_dumped_config_says_the_same(name, tmp_path):
    cfg = parse(name)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py').model == cfg.model


@pytest.mark.parametrize('name', LEAVES)
def test_leaf_states_only_differences(name):
    lines = (FOLDER / name).read_text().splitlines()
    code = [li for li in lines if li.strip() and not li.startswith('#')]
    limit = 40 if name.startswith('quickstart') else 12
    assert len(code) <= limit


@pytest.mark.parametrize('tuner', TUNERS)
@pytest.mark.parametrize('folder', FAMILIES)
def test_every_method_has_a_leaf_in_every_family(folder, tuner):
    stem, tail = FAMILIES[folder]
    cfg = parse(f'{folder}/{stem}{suffix(tuner)}{tail}.py')
    assert cfg.model.backbone.tuner.type == tuner


@pytest.mark.parametrize('tuner', TUNERS)
@pytest.mark.parametrize('stem', QUICK)
def test_every_method_has_a_quickstart_in_every_family(stem, tuner):
    cfg = parse(f'quickstart/{stem}{suffix(tuner)}_shapes.py')
    assert cfg.model.backbone.tuner.type == tuner


@pytest.mark.parametrize('tuner', TUNERS)
def test_fragment_of_a_method_states_its_defaults(tuner):
    fragment = parse(f'_base_/tuners/{tuner.lower()}.py').tuner
    cls = type(TunedSwinTransformer(
        arch=dict(embed_dims=4, depths=[1], num_heads=[1]), out_indices=(0, ),
        tuner=dict(fragment)).tuner)
    defaults = inspect.signature(cls).parameters
    for key, value in fragment.items():
        if key != 'type':
            assert value == defaults[key].default, key


@pytest.mark.parametrize('name', [
    c for c in LEAVES if '-mona' in c])
def test_mona_leaf_names_the_papers_backbone(name):
    assert parse(name).model.backbone.type == 'mona_mm.SwinTransformerMona'
    assert SwinTransformerMona.__name__ == 'SwinTransformerMona'


@pytest.mark.parametrize('folder, tail, full_lr', [
    ('upernet', 'upernet_swin-l{}_160k_ade20k', 6e-5),
    ('swin_classification', 'swin-l{}_100e_flowers102', 1.5625e-5),
    ('swin_classification', 'swin-l{}_100e_oxfordpets', 1.5625e-5),
])
def test_fair_variant_has_the_baselines_rate_and_drop_path(
        folder, tail, full_lr):
    # Paper's release: x5 on ADE20K (3e-4), x2 on Flowers102 and Pets.
    factor = 5 if folder == 'upernet' else 2
    full, mona, fair = (
        parse(f'{folder}/{tail.format(v)}.py')
        for v in ('', '-mona', '-mona-fair'))
    assert full.optim_wrapper.optimizer.lr == pytest.approx(full_lr)
    assert mona.optim_wrapper.optimizer.lr == pytest.approx(factor * full_lr)
    assert fair.optim_wrapper == full.optim_wrapper
    assert fair.model.backbone.drop_path_rate == (
        full.model.backbone.drop_path_rate)


def test_model_index_lists_every_full_size_leaf_and_no_other():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    listed = [
        model['Config'] for path in index['Import']
        for model in yaml.safe_load((ROOT / path).read_text())['Models']]
    assert sorted(listed) == sorted(
        f'configs/{c}' for c in LEAVES if not c.startswith('quickstart'))


@pytest.mark.parametrize('name', LEAVES)
def test_command_in_the_first_lines_names_the_config_itself(name):
    assert f'configs/{name}' in (FOLDER / name).read_text()[:200]
