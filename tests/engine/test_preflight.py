"""What is wrong is said before any work is done."""
import json
import os

import pytest
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset

from mona_mm.engine.preflight import check_start, preflight
from mona_mm.errors import CheckpointError, ConfigError


@pytest.fixture
def cfg(tmp_path):
    (tmp_path / 'ann.json').write_text(json.dumps(dict(
        images=[], annotations=[],
        categories=[dict(id=1, name='a'), dict(id=2, name='b')])))
    (tmp_path / 'images').mkdir()
    dataset = dict(
        type='CocoDataset',
        data_root=str(tmp_path),
        ann_file='ann.json',
        data_prefix=dict(img='images'),
        metainfo=dict(classes=('a', 'b')))
    return Config(dict(
        default_scope='mmdet',
        model=dict(
            backbone=dict(type='mona_mm.SwinTransformerMona'),
            roi_head=dict(bbox_head=[dict(num_classes=2)] * 3,
                          mask_head=dict(num_classes=2)),
            rpn_head=dict(num_classes=1)),
        train_dataloader=dict(
            dataset=dict(type='RepeatDataset', times=3, dataset=dataset))))


def leaf(cfg):
    return cfg.train_dataloader.dataset.dataset


def refusal(cfg):
    with pytest.raises(ConfigError) as error:
        preflight(cfg, ('train', 'val'))
    return str(error.value)


def test_good_config_passes(cfg):
    preflight(cfg, ('train', 'val'))


def test_missing_data_root_is_named_with_what_to_do(cfg):
    leaf(cfg).data_root = 'data/nowhere'
    message = refusal(cfg)
    assert "data_root 'data/nowhere' does not exist" in message
    assert 'data/README.md' in message


@pytest.mark.parametrize('key, value', [
    ('ann_file', 'lost.json'), ('data_prefix', dict(img='lost'))])
def test_missing_annotation_or_image_folder_is_named(cfg, key, value):
    leaf(cfg)[key] = value
    assert key in refusal(cfg) and 'lost' in refusal(cfg)


def test_every_head_with_another_class_count_is_named(cfg):
    cfg.model.roi_head.bbox_head[1].num_classes = 80
    cfg.model.roi_head.mask_head.num_classes = 80
    message = refusal(cfg)
    assert 'model.roi_head.bbox_head[1].num_classes=80' in message
    assert 'model.roi_head.mask_head.num_classes=80' in message
    assert 'bbox_head[0]' not in message and 'rpn_head' not in message
    assert 'the 2 classes of train_dataloader (CocoDataset) are a, b' in (
        message)


def test_classes_of_the_dataset_class_count_when_none_are_given(cfg):
    del leaf(cfg).metainfo
    assert 'the 80 classes' in refusal(cfg)


def test_string_instead_of_a_tuple_of_classes_is_explained(cfg):
    leaf(cfg).metainfo.classes = 'cat'
    assert "('cat', )" in refusal(cfg)


def test_missing_base_is_named(cfg):
    cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='lost/base.pth')
    message = refusal(cfg)
    assert "init_cfg.checkpoint 'lost/base.pth'" in message
    assert os.path.abspath('lost/base.pth') in message


@pytest.mark.parametrize('loop', [
    dict(by_epoch=True), dict(type='mona_mm.ResumableEpochLoop'),
    dict(type='EpochBasedTrainLoop')])
def test_argument_that_the_loop_does_not_take_is_named(cfg, loop):
    cfg.train_cfg = dict(loop, max_epochs=2, val_interval=1)
    preflight(cfg, ('train', ))
    cfg.train_cfg.max_epoch = 1
    message = refusal(cfg)
    assert 'train_cfg.max_epoch:' in message and 'max_epochs,' in message


def test_base_behind_a_url_is_left_to_the_download(cfg):
    cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='https://example.org/base.pth')
    preflight(cfg, ('train', ))


def test_class_folders_are_counted(tmp_path):
    for name in ('ant', 'bee', 'cow'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    cfg = Config(dict(
        default_scope='mmpretrain',
        model=dict(head=dict(num_classes=2)),
        train_dataloader=dict(dataset=dict(
            type='CustomDataset', data_root=str(tmp_path),
            data_prefix='train'))))
    assert 'the 3 classes of train_dataloader (CustomDataset) are ant, ' in (
        refusal(cfg))


@pytest.mark.parametrize('kind', [
    CustomDataset, 'mmpretrain.CustomDataset',
    'mmpretrain.datasets.CustomDataset',
    'mmpretrain.datasets.custom.CustomDataset'])
def test_class_folders_are_counted_however_the_dataset_is_named(
        kind, tmp_path):
    for name in ('ant', 'bee', 'cow'):
        (tmp_path / 'train' / name).mkdir(parents=True)
    cfg = Config(dict(
        model=dict(head=dict(num_classes=2)),
        train_dataloader=dict(dataset=dict(
            type=kind, data_root=str(tmp_path), data_prefix='train'))))
    assert 'the 3 classes of train_dataloader (CustomDataset) are ant, ' in (
        refusal(cfg))


def test_checkpoint_alone_is_enough_for_testing(cfg):
    # It holds the whole model: the pretrained file is not read again.
    cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='lost/base.pth')
    cfg.test_dataloader = cfg.train_dataloader
    preflight(cfg, ('test', ))


def test_reentrant_checkpointing_is_refused_because_adapters_would_not_train(
        cfg):
    cfg.activation_checkpointing = ['backbone']
    assert 'with_cp=True' in refusal(cfg)


def test_classes_may_come_from_a_file(cfg, tmp_path):
    (tmp_path / 'classes.txt').write_text('a\nb\nc\n')
    leaf(cfg).metainfo.classes = str(tmp_path / 'classes.txt')
    assert 'the 3 classes' in refusal(cfg)


def test_semantic_branch_of_a_detector_has_classes_of_its_own(cfg):
    cfg.model.roi_head.semantic_head = dict(num_classes=183)
    assert not preflight(cfg, ('train', ))


def test_submission_folder_that_exists_is_refused_before_inference(
        cfg, tmp_path):
    cfg.test_dataloader = cfg.train_dataloader
    cfg.test_evaluator = dict(
        type='DOTAMetric', merge_patches=True, outfile_prefix=str(tmp_path))
    with pytest.raises(ConfigError, match='outfile_prefix'):
        preflight(cfg, ('test', ))


@pytest.mark.parametrize('content', [None, b'', b'PK broken', b'text'])
def test_start_from_a_file_that_is_no_checkpoint_is_refused(
        content, tmp_path):
    path = tmp_path / 'start.pth'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match='start.pth'):
        check_start(Config(dict(load_from=str(path))))


def test_broken_newest_checkpoint_is_named_before_resuming(tmp_path):
    (tmp_path / 'epoch_1.pth').write_bytes(b'half a file')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    with pytest.raises(CheckpointError, match='epoch_1.pth'):
        check_start(Config(dict(resume=True, work_dir=str(tmp_path))))
