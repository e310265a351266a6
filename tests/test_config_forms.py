"""A config is understood in every form in which it can be written."""
import argparse
import copy
import json
import re

import pytest
from forms import write_forms
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.registry import DATASETS, METRICS, DefaultScope
from mmengine.runner import EpochBasedTrainLoop
from paths import ROOT
from torch import nn

from mona_mm.backbones import tuned_class
from mona_mm.backbones.counting import count_backbone
from mona_mm.checkpoint.describe import describe_backbone, describe_tuner
from mona_mm.checkpoint.merge import _plain_config
from mona_mm.config import (
    backbone_of,
    changes,
    class_of,
    datasets,
    library_of,
    name_of,
    takes,
)
from mona_mm.doctor import memory
from mona_mm.engine import evaluate, fit, launch, preflight
from mona_mm.engine.device import adapt_to_cpu
from mona_mm.engine.optim import _fast
from mona_mm.errors import ConfigError
from mona_mm.research.benchmark import sources
from mona_mm.research.benchmark.methods import own_tuner
from mona_mm.research.shapes import make_shapes
from mona_mm.tuners import build_tuner

LEAVES = {
    'mmdet': 'retinanet_swin-nano-mona_shapes',
    'mmseg': 'upernet_swin-nano-mona_shapes',
    'mmrotate': 'oriented-rcnn_swin-nano-mona_shapes',
    'mmpretrain': 'swin-nano-mona_shapes',
}
HEADS = {
    'mmdet': 'model.bbox_head',
    'mmseg': 'model.decode_head',
    'mmrotate': 'model.roi_head.bbox_head',
    'mmpretrain': 'model.head',
}
FORMS = ('classes', 'paths', 'json')
SHAPES, WRITTEN = [], {}


@pytest.fixture(autouse=True)
def _forget_scope():
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='module', autouse=True)
def _shapes(tmp_path_factory):
    """Tiny data of every layout, where configs expect them."""
    folder = tmp_path_factory.mktemp('shapes')
    make_shapes(folder / 'data/shapes', train=4, val=2, per_class=1,
                val_per_class=1)
    SHAPES[:] = [folder]


@pytest.fixture
def files(request, tmp_path_factory):
    """The forms of a library's leaf, written once."""
    library = request.param
    if library not in WRITTEN:
        leaf = ROOT / f'configs/quickstart/{LEAVES[library]}.py'
        WRITTEN[library] = write_forms(leaf, tmp_path_factory.mktemp('forms'))
        DefaultScope._instance_dict.clear()
    return dict(WRITTEN[library], library=library)


def plain(result):
    """Without the difference of tuples and lists, which JSON has not."""
    return json.loads(json.dumps(result, default=dict))


def kinds(nodes) -> list:
    return [name_of(node['type']) for node in nodes]


def amp(cfg):
    launch.set_amp(cfg)
    return name_of(cfg.optim_wrapper.type), cfg.optim_wrapper.loss_scale


def resumable(cfg):
    cfg.default_hooks.checkpoint.type = as_in(cfg, CheckpointHook)
    cfg.train_cfg = dict(type=as_in(cfg, EpochBasedTrainLoop), max_epochs=2)
    launch.set_resumable(cfg)
    return cfg.default_hooks.checkpoint.type, cfg.train_cfg


def on_cpu(cfg):
    launch.set_amp(cfg)
    cfg.model.backbone.norm_cfg = dict(
        type=as_in(cfg, nn.SyncBatchNorm, 'SyncBN'))
    notes = adapt_to_cpu(cfg)
    return (notes, name_of(cfg.optim_wrapper.type),
            name_of(cfg.model.backbone.norm_cfg.type))


def as_in(cfg, cls, name=None):
    """A class, as a config of this form would name it."""
    kind = cfg.model.type
    if not isinstance(kind, str):
        return cls
    return f'{cls.__module__}.{cls.__name__}' if kind.count('.') > 1 else (
        name or cls.__name__)


def refusal(cfg):
    with pytest.raises(ConfigError) as error:
        preflight.preflight(cfg, ('train', 'val'))
    return str(error.value)


def without_data(cfg):
    for phase in ('train', 'val'):
        for _, leaf in datasets(cfg[f'{phase}_dataloader']):
            leaf.data_root = f'nowhere/{leaf.data_root}'
    return refusal(cfg)


def class_counts(cfg):
    """Data are there, and a head has another number of classes."""
    head = HEADS[library_of(cfg)]
    cfg.merge_from_dict({f'{head}.num_classes': 9})
    for phase in ('train', 'val'):
        for _, leaf in datasets(cfg[f'{phase}_dataloader']):
            leaf.data_root = str(SHAPES[0] / leaf.data_root)
    told = refusal(cfg)
    assert f'{head}.num_classes=9' in told
    return told


def other_tuner(cfg):
    launch.set_tuner(cfg, 'lora')
    return name_of(cfg.model.backbone.type), dict(cfg.model.backbone.tuner)


def out(cfg):
    evaluate.set_out(cfg, 'found.pkl')
    return kinds(cfg.test_evaluator)


def masks(cfg):
    if library_of(cfg) != 'mmseg':
        with pytest.raises(ConfigError, match='.pkl'):
            evaluate.set_out(cfg, 'masks')
        return None
    evaluate.set_out(cfg, 'masks')
    return cfg.test_evaluator.output_dir, cfg.test_evaluator.keep_results


def show(cfg):
    evaluate.set_show(cfg, False, 'pictures')
    hook = dict(cfg.default_hooks.visualization)
    return name_of(hook.pop('type')), hook, cfg.get('show_dir')


def tta(cfg):
    kind = cfg.model.type
    cfg.tta_pipeline = [dict(type='LoadImageFromFile')]
    cfg.tta_model = dict(type='AnyTTA')
    evaluate.set_tta(cfg)
    assert cfg.model.module.type == kind
    assert name_of(backbone_of(cfg).type) == 'SwinTransformerMona'
    return [(path, leaf.pipeline) for path, leaf in datasets(
        cfg.test_dataloader)]


def counts(cfg):
    return count_backbone(cfg)


def memory_needed(cfg):
    model = fit.outline(cfg)
    return memory.picture_size(cfg), memory.estimate(
        cfg, model, model.backbone)


def optimizer(cfg):
    group = dict(params=[nn.Parameter(nn.Linear(1, 1).weight)])
    return _fast(cfg.optim_wrapper.optimizer, [group]).get('fused')


def fingerprint(cfg):
    backbone = backbone_of(cfg)
    cls = tuned_class(backbone, cfg.get('default_scope'))
    return (describe_backbone(cls, backbone),
            describe_tuner(build_tuner(backbone.tuner)))


def unchanged(cfg):
    launch.set_resumable(cfg)
    return changes(cfg)


def merged(cfg):
    launch.set_tuner(cfg, 'lora')
    plain = _plain_config(cfg, fit.outline(cfg)).model.backbone
    return dict(plain)


def benchmarked(cfg):
    described = sources.described_backbone('config', cfg)
    (label, ) = own_tuner(described)
    return label, described['type'], cfg.model.backbone.arch


PLACES = [amp, resumable, on_cpu, without_data, class_counts, other_tuner, out,
          masks, show, tta, counts, memory_needed, optimizer, fingerprint,
          unchanged, merged, benchmarked]


def _matrix():
    """Every place with every library; what builds models, with one."""
    for library in LEAVES:
        for place in PLACES:
            slow = place in (memory_needed, counts, merged) and (
                library != 'mmpretrain')
            yield pytest.param(
                library, place, id=f'{library}-{place.__name__}',
                marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize('files, place', _matrix(), indirect=['files'])
def test_every_place_that_reads_a_config_understands_all_forms(files, place):
    assert library_of(Config.fromfile(files['names'])) == files['library']
    expected = plain(place(launch.read_config(files['names'])))
    for form in FORMS:
        cfg = launch.read_config(files[form])
        if form == 'classes':  # nor does this form need its scope
            assert cfg.get('default_scope') is None
        assert library_of(cfg) == files['library']
        assert plain(place(cfg)) == expected, form


def test_expected_results_are_those_of_the_text_form(root):
    # What the comparison above compares with.
    cfg = Config.fromfile(root / f'configs/quickstart/{LEAVES["mmdet"]}.py')
    assert amp(copy.deepcopy(cfg)) == ('AmpOptimWrapper', 'dynamic')
    assert resumable(copy.deepcopy(cfg)) == (
        'mona_mm.AtomicCheckpointHook',
        dict(type='mona_mm.ResumableEpochLoop', max_epochs=2))
    assert on_cpu(copy.deepcopy(cfg))[1:] == ('OptimWrapper', 'BN')
    assert out(copy.deepcopy(cfg)) == ['VOCMetric', 'DumpDetResults']
    assert optimizer(cfg) is True
    assert unchanged(cfg) == []


def wrappers():
    """Every dataset of the libraries that is made of others."""
    for library in LEAVES:
        with DATASETS.switch_scope_and_registry(library) as registry:
            registry.import_from_location()
            known = {**DATASETS.module_dict, **registry.module_dict}
        for name, cls in known.items():
            for key in ('dataset', 'datasets'):
                if takes(cls, key):
                    yield f'{library}.{name}', cls, key
    DefaultScope._instance_dict.clear()


def test_augmentation_reaches_the_files_inside_every_wrapper():
    found = {name: (cls, key) for name, cls, key in wrappers()}
    assert {'mmdet.ConcatDataset', 'mmdet.RepeatDataset',
            'mmseg.MultiImageMixDataset', 'mmdet.ClassBalancedDataset',
            'mmpretrain.KFoldDataset'} <= set(found)
    for name, (cls, key) in found.items():
        leaf = dict(type='Any', pipeline=[dict(type='Old')])
        inner = [leaf, dict(leaf)] if key == 'datasets' else leaf
        data = {'type': name, key: inner}
        if takes(cls, 'pipeline'):
            data['pipeline'] = [dict(type='Mosaic')]
        for outer in (data, dict(type='RepeatDataset', times=2,
                                 dataset=data)):
            cfg = Config(dict(
                tta_model=dict(type='T'), model=dict(backbone={}),
                tta_pipeline=[dict(type='New')],
                test_dataloader=copy.deepcopy(dict(dataset=outer))))
            evaluate.set_tta(cfg)
            leaves = [d for _, d in datasets(cfg.test_dataloader)]
            assert len(leaves) == (2 if key == 'datasets' else 1), name
            assert all(d.pipeline == [dict(type='New')] for d in leaves)
            for _, d in datasets(cfg.test_dataloader, wrappers=True):
                assert d.get('pipeline', []) == [], name
                assert takes(cls, 'pipeline') or 'pipeline' not in d, name


def test_augmentation_reaches_several_loaders():
    loader = dict(dataset=dict(type='Any', pipeline=[]))
    cfg = Config(dict(
        tta_model=dict(type='T'), model=dict(backbone={}),
        tta_pipeline=[dict(type='New')], test_dataloader=[loader, loader]))
    evaluate.set_tta(cfg)
    for one in cfg.test_dataloader:
        assert one.dataset.pipeline == [dict(type='New')]


def test_option_of_the_message_sets_the_missing_folder_in_any_wrapper(
        tmp_path):
    for wrap in (lambda d: d, lambda d: dict(type='R', dataset=d),
                 lambda d: dict(type='C', datasets=[dict(
                     type='Any', data_root=str(tmp_path)), d])):
        cfg = Config(dict(model=dict(backbone={}), train_dataloader=dict(
            dataset=wrap(dict(type='Any', data_root='/no where')))))
        with pytest.raises(ConfigError) as error:
            preflight.preflight(cfg, ('train', ))
        (option, ) = re.findall(r'--cfg-options (\S+)=', str(error.value))
        cfg.merge_from_dict({option: str(tmp_path)})
        preflight.preflight(cfg, ('train', ))


def seg_config(evaluator):
    cfg = Config.fromfile(
        ROOT / f'configs/quickstart/{LEAVES["mmseg"]}.py')
    cfg.test_evaluator = evaluator
    return cfg


@pytest.mark.parametrize('form', ['one', 'list', 'tuple', 'evaluator'])
def test_masks_are_written_by_one_metric_whatever_holds_it(form):
    with METRICS.switch_scope_and_registry('mmseg') as registry:
        registry.import_from_location()
        able = [n for n, c in registry.module_dict.items()
                if takes(c, 'output_dir')]
    assert {'IoUMetric', 'CityscapesMetric'} <= set(able)
    for name in able:
        metrics = [dict(type='DumpResults', out_file_path='a.pkl'),
                   dict(type=name), dict(type='IoUMetric', prefix='second')]
        cfg = seg_config(dict(
            one=metrics[1], list=metrics, tuple=tuple(metrics),
            evaluator=dict(type='Evaluator', metrics=metrics))[form])
        evaluate.set_out(cfg, 'masks')
        found = cfg.test_evaluator
        if form == 'evaluator':
            assert found.type == 'Evaluator'
            found = found.metrics
        found = [found] if form == 'one' else found
        assert [m.get('output_dir') for m in found if 'output_dir' in m] == [
            'masks']
        assert next(m for m in found if 'output_dir' in m).type == name


def test_masks_without_a_metric_that_writes_them_are_refused_by_name():
    cfg = seg_config([dict(type='DumpResults', out_file_path='a.pkl')])
    with pytest.raises(ConfigError, match='has DumpResults'):
        evaluate.set_out(cfg, 'masks')


@pytest.mark.parametrize('evaluator', [
    dict(type='VOCMetric'), [dict(type='VOCMetric')],
    dict(metrics=[dict(type='VOCMetric')])])
def test_predictions_are_dumped_beside_any_evaluator(evaluator):
    cfg = Config(dict(default_scope='mmdet', test_evaluator=evaluator))
    evaluate.set_out(cfg, 'a.pkl')
    found = cfg.test_evaluator
    metrics = found if isinstance(found, list) else found.metrics
    assert kinds(metrics) == ['VOCMetric', 'DumpDetResults']


def test_a_class_of_the_users_own_with_the_same_name_is_left_alone():
    class CheckpointHook:
        pass

    for kind in (CheckpointHook, 'their.CheckpointHook'):
        cfg = Config(dict(default_hooks=dict(checkpoint=dict(type=kind))))
        launch.set_resumable(cfg)
        assert cfg.default_hooks.checkpoint.type is kind or (
            cfg.default_hooks.checkpoint.type == kind)


def test_hook_that_mmengine_puts_in_by_itself_is_ours_too():
    cfg = Config(dict(train_cfg=dict(by_epoch=True)))
    launch.set_resumable(cfg)
    assert cfg.default_hooks.checkpoint == dict(
        type='mona_mm.AtomicCheckpointHook', interval=1)


def test_dumped_config_says_one_thing_about_its_tuner(tmp_path):
    parser = argparse.ArgumentParser()
    launch.add_common_arguments(parser)
    leaf = str(ROOT / f'configs/quickstart/{LEAVES["mmpretrain"]}.py')
    for words in (['--tuner', 'lora'],
                  ['--cfg-options', 'model.backbone.tuner.drop_rate=0.2']):
        cfg = launch.load_config(parser.parse_args([leaf, *words]))
        dumped = Config.fromstring(cfg.dump(), '.py')
        assert dumped.tuner == dumped.model.backbone.tuner
        assert all(c.startswith('model.backbone') for c in changes(cfg))


def test_class_that_does_not_exist_is_nobodys():
    assert class_of('NoSuchMetric', METRICS) is None
