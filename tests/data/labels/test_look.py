"""Names in label files are the config's classes, in every layout."""
import pytest
import sets
from mmengine.config import Config
from mmengine.registry import DATASETS
from paths import ROOT

from mona_mm.config import class_of
from mona_mm.data.labels.leaves import leaves
from mona_mm.data.labels.look import READERS, reader_name
from mona_mm.engine.preflight import preflight
from mona_mm.errors import ConfigError

BASES = sorted(ROOT.glob('configs/_base_/datasets/*.py'))
SCOPES = ('mmseg', 'mmpretrain', 'mmrotate', 'mmdet')
#: {layout: what makes its labels disagree with the classes ('cat', 'dog')}
LAYOUTS = dict(
    coco=dict(names=('dog', 'cat')),
    xml=dict(names=('cat', 'dogs')),
    xml_classes=dict(names=('cat', 'dogs')),
    dota=dict(names=('cat', 'dogs')),
    masks=dict(values=(1, 3)),
    folders=dict(names=('cat', 'cow', 'dog')),
    listed=dict(labels=(0, 2)),
    own_json=dict(names=('dog', 'cat')),
)
WRAPPERS = dict(
    bare=lambda d: d,
    repeated=lambda d: dict(type='RepeatDataset', times=2, dataset=d),
    joined=lambda d: dict(type='ConcatDataset', datasets=[d, dict(d)]),
    balanced=lambda d: dict(
        type='ClassBalancedDataset', oversample_thr=.1, dataset=d),
    mixed=lambda d: dict(
        type='MultiImageMixDataset', pipeline=[], dataset=d),
    nested=lambda d: dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[d])),
)


def config(train, val=None, scope='mmdet', heads=2, **more) -> Config:
    cfg = dict(
        default_scope=scope,
        model=dict(backbone=dict(type='X'), head=dict(num_classes=heads)),
        train_dataloader=dict(dataset=train), **more)
    if val:
        cfg['val_dataloader'] = dict(dataset=val)
    return Config(cfg)


def data(layout, root, part, classes=sets.NAMES, **fault) -> dict:
    made = getattr(sets, layout)(root, part, **fault)
    return dict(made, metainfo=dict(classes=classes)) if classes else made


def notes_of(cfg) -> str:
    return '\n'.join(preflight(cfg, ('train', 'val')))


def refusal(cfg, phases=('train', 'val')) -> str:
    with pytest.raises(ConfigError) as error:
        preflight(cfg, phases)
    return str(error.value)


@pytest.mark.parametrize('path', BASES, ids=lambda p: p.stem)
def test_every_dataset_of_the_configs_is_looked_into(path):
    cfg = Config.fromfile(path)
    scope = next(s for s in SCOPES if all(
        class_of(one.cfg.type, DATASETS, s)
        for one in leaves(cfg.train_dataloader.dataset)))
    for phase in ('train', 'val', 'test'):
        for one in leaves((cfg.get(f'{phase}_dataloader') or {}).get(
                'dataset')):
            cls = class_of(one.cfg.type, DATASETS, scope)
            assert reader_name(cls) in READERS


@pytest.mark.parametrize('layout', LAYOUTS)
def test_labels_that_fit_are_accepted_in_silence(layout, tmp_path):
    assert not notes_of(config(data(layout, tmp_path, 'a'),
                               data(layout, tmp_path, 'b')))


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('wrapper', WRAPPERS)
def test_labels_that_do_not_fit_are_refused_in_every_wrapper(
        layout, wrapper, tmp_path):
    wrong = data(layout, tmp_path, 'a', **LAYOUTS[layout])
    told = refusal(config(WRAPPERS[wrapper](wrong)))
    assert str(tmp_path) in told  # the file, or the folder
    assert 'train_dataloader: ' in told


@pytest.mark.parametrize('layout', LAYOUTS)
def test_validation_and_test_are_looked_at_like_training(layout, tmp_path):
    right = data(layout, tmp_path / 'right', 'a')
    wrong = data(layout, tmp_path / 'wrong', 'a', **LAYOUTS[layout])
    assert 'val_dataloader: ' in refusal(config(right, wrong))
    cfg = config(right)
    cfg.test_dataloader = dict(dataset=wrong)
    assert 'test_dataloader: ' in refusal(cfg, ('test', ))


@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_type_may_be_a_class(layout, tmp_path):
    wrong = data(layout, tmp_path, 'a', **LAYOUTS[layout])
    told = refusal(config(dict(
        wrong, type=class_of(wrong['type'], DATASETS, 'mmdet'))))
    assert f': {wrong["type"].split(".")[1]}: ' in told


@pytest.mark.parametrize('name, scope, options', [
    ('OxfordIIITPet', 'mmpretrain', {}), ('Food101', 'mmpretrain', {}),
    ('CIFAR100', 'mmpretrain', dict(download=False)),
    ('mona_mm.SVHN', 'mmpretrain', {})])
def test_classes_in_another_order_than_the_numbers_are_refused(
        name, scope, options, tmp_path):
    own = class_of(name, DATASETS, scope).METAINFO['classes']
    given = dict(type=name, data_root=str(tmp_path), **options)
    swapped = (own[1], own[0], *own[2:])
    cfg = config(given, scope=scope, heads=len(own))
    assert not notes_of(cfg)
    cfg.train_dataloader.dataset.metainfo = dict(classes=swapped)
    assert f'{own[1]!r} is label 0 in the config and label 1 there' in (
        refusal(cfg))


def test_folders_of_validation_that_training_lacks_are_named(tmp_path):
    cfg = config(sets.folders(tmp_path, 'train', ('cat', 'dog', 'zebra')),
                 sets.folders(tmp_path, 'val', ('cat', 'horse', 'zebra')),
                 heads=3)
    told = refusal(cfg)
    assert 'only train_dataloader: dog' in told
    assert 'only val_dataloader: horse' in told
    # Names of one's own do not hide it.
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo = dict(classes=('Tier', 'Hund', 'Ross'))
    assert 'horse' in refusal(cfg)


def test_hidden_folder_that_the_library_takes_for_a_class_is_named(tmp_path):
    cfg = config(data('folders', tmp_path, 'a', None))
    (tmp_path / 'a/.ipynb_checkpoints').mkdir()
    assert '.ipynb_checkpoints, cat, dog' in refusal(cfg)


def test_classes_that_translate_the_folders_are_accepted(tmp_path):
    assert not notes_of(config(data('folders', tmp_path, 'a', ('Katze',
                                                             'Hund'))))
    told = refusal(config(data('folders', tmp_path, 'a', ('dog', 'cat'))))
    assert "'dog' is label 0 in the config and label 1 there" in told


def test_class_that_a_coco_file_lacks_is_named_with_what_it_has(tmp_path):
    told = refusal(config(data('coco', tmp_path, 'a', ('cat', 'dgo'))))
    assert "metainfo.classes has 'dgo', which" in told
    assert "no class is spelt like: 'dog'" in told


def test_a_part_of_the_categories_is_accepted_and_said(tmp_path):
    told = notes_of(config(data('coco', tmp_path, 'a', ('dog', )), heads=1))
    assert "labels of 'cat' in" in told and 'are left out' in told


def test_two_categories_of_one_name_are_refused(tmp_path):
    told = refusal(config(data('coco', tmp_path, 'a',
                               names=('cat', 'dog', 'dog'))))
    assert "several categories of the name 'dog'" in told


@pytest.mark.parametrize('layout', ['xml', 'xml_classes'])
def test_other_names_in_xml_are_said_and_a_typo_is_refused(layout, tmp_path):
    part = data(layout, tmp_path, 'a', ('dog', ))
    told = notes_of(config(part, heads=1))
    assert "labels of 'cat' (2 x, first in" in told and 'ear' not in told
    part['metainfo'] = dict(classes=('cow', 'dog'))
    assert 'its classes cow have no label' in notes_of(config(part))
    part['metainfo'] = dict(classes=('Cat', 'dog'))
    assert "'Cat', where the label files have 'cat'" in refusal(config(part))
    part['metainfo'] = dict(classes=('cow', 'pig'))
    assert 'no label is of a class' in refusal(config(part))


def test_datasets_of_one_loader_have_the_same_classes(tmp_path):
    pair = [data('folders', tmp_path, 'a'),
            data('folders', tmp_path, 'b', ('cat', 'cow'),
                 names=('cat', 'cow'))]
    joined = dict(type='ConcatDataset', datasets=pair)
    assert 'only another (CustomDataset) of the same loader' in (
        refusal(config(joined)))
    assert not notes_of(config(dict(joined, ignore_keys=['classes'])))


def test_test_set_of_other_classes_does_not_stop_a_training(tmp_path):
    cfg = config(data('folders', tmp_path, 'a'))
    cfg.test_dataloader = dict(dataset=dict(
        type='CocoDataset', data_root='nowhere',
        metainfo=dict(classes=('x', 'y'))))
    assert 'only test_dataloader: x, y' in notes_of(cfg)


def test_classes_found_only_in_reading_are_compared_too(tmp_path):
    one = data('own_json', tmp_path, 'a', None)
    other = data('own_json', tmp_path, 'b', None, names=('cat', 'cow'))
    assert 'only val_dataloader: cow' in refusal(config(one, other))
