"""Checkpoints of other classes and batches without labels are refused."""
from types import SimpleNamespace

import pytest
import runs
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import FUNCTIONS
from mmengine.structures import InstanceData, PixelData
from mmpretrain.structures import DataSample
from mmrotate.structures import RotatedBoxes
from mmseg.structures import SegDataSample
from torch import nn

from mona_mm.data.labels.batch import flat_boxes
from mona_mm.engine.watch.labels import (
    LabelsHook,
    NothingLabelled,
    set_labels_hook,
)
from mona_mm.engine.watch.nonfinite import NonFiniteLoss
from mona_mm.errors import CheckpointError


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    return runs.save_base(tmp_path_factory.mktemp('base') / 'base.pth')


@runs.DATASETS.register_module(force=True)
class NamedPictures(runs.NoisyPictures):
    """Pictures whose classes a test chooses."""

    def __init__(self, names, **kwargs) -> None:
        super().__init__(**kwargs)
        self.names = names

    @property
    def metainfo(self) -> dict:
        return dict(classes=tuple(self.names))


def config(folder, base, *names, **more) -> dict:
    cfg = runs.config(folder, base, hook=dict(interval=3), **more)
    for loader in ('train_dataloader', 'val_dataloader'):
        cfg[loader]['dataset'] = dict(type='NamedPictures', names=names)
    cfg['test_dataloader'] = cfg['val_dataloader']
    cfg.update(test_cfg=dict(), test_evaluator=cfg['val_evaluator'])
    cfg['default_hooks']['labels'] = dict(type='mona_mm.LabelsHook')
    return cfg


@pytest.fixture(scope='module')
def saved(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp('saved')
    runs.start(config(folder, base, 'cat', 'dog', 'emu')).train()
    return str(folder / 'epoch_3.pth')


@pytest.mark.parametrize('names, told', [
    (('dog', 'cat', 'emu'), "label 0 is 'dog' here and 'cat' there"),
    (('cat', 'cow', 'emu'), 'cow')])
@pytest.mark.parametrize('job', ['resume', 'test', 'val'])
def test_checkpoint_of_other_classes_is_refused(
        names, told, job, base, saved, tmp_path):
    cfg = config(tmp_path, base, *names)
    if job == 'resume':
        runner = runs.start(cfg, saved)
        start = runner.train
    else:
        runner = runs.start(dict(cfg, load_from=saved))
        start = getattr(runner, job)
    with pytest.raises(CheckpointError) as error:
        start()
    assert f'{saved} was trained for other classes' in str(error.value)
    assert told in str(error.value)


def test_same_classes_spelt_otherwise_and_unknown_ones_are_accepted(
        base, saved, tmp_path):
    cfg = config(tmp_path, base, 'Cat', 'dog', 'emu')
    assert runs.start(dict(cfg, load_from=saved)).test()
    cfg = config(tmp_path, base)
    assert runs.start(dict(cfg, load_from=saved)).test()


def test_start_from_weights_for_other_classes_is_said(base, saved, tmp_path):
    cfg = config(tmp_path, base, 'dog', 'cat', 'emu', load_from=saved)
    cfg['train_cfg']['max_epochs'] = 1
    runs.start(cfg).train()
    log = ''.join(p.read_text() for p in tmp_path.glob('*/*.log'))
    assert "label 0 is 'dog' here and 'cat' there" in log


def test_tools_put_the_hook_in_unless_it_is_switched_off():
    cfg = Config(dict(model=dict()))
    set_labels_hook(cfg)
    assert cfg.default_hooks.labels.type == 'mona_mm.LabelsHook'
    cfg = Config(dict(default_hooks=dict(labels=dict(patience=7))))
    set_labels_hook(cfg)
    assert cfg.default_hooks.labels == dict(
        type='mona_mm.LabelsHook', patience=7)
    cfg = Config(dict(default_hooks=dict(labels=None)))
    set_labels_hook(cfg)
    assert cfg.default_hooks.labels is None


def boxes(*rows) -> DetDataSample:
    found = torch.tensor(rows, dtype=torch.float).reshape(-1, 4)
    return DetDataSample(
        metainfo=dict(img_path='a.png'),
        gt_instances=InstanceData(bboxes=found, labels=torch.zeros(len(rows))))


def mask(*values) -> SegDataSample:
    return SegDataSample(gt_sem_seg=PixelData(
        data=torch.tensor([[values]], dtype=torch.uint8)))


#: {samples of a batch: whether they have a label}
BATCHES = [
    ([boxes(), boxes()], False), ([boxes(), boxes([1, 1, 2, 2])], True),
    ([mask(255, 255)], False), ([mask(255, 0)], True),
    ([DataSample().set_gt_label(0)], True),
    (dict(labelled=[boxes()], unlabelled=[boxes()]), False),
    (dict(labelled=[boxes([1, 1, 2, 2])], unlabelled=[boxes()]), True)]


def feed(samples, batches, epoch=1000, **options) -> None:
    runner = SimpleNamespace(
        model=nn.CrossEntropyLoss(ignore_index=255), iter=0,
        train_dataloader=range(epoch))
    hook = LabelsHook(**options)
    hook.before_train(runner)
    for index in range(batches):
        hook.after_train_iter(runner, index, dict(data_samples=samples), {})


@pytest.mark.parametrize('samples, labelled', BATCHES)
def test_batches_without_a_label_stop_a_run(samples, labelled):
    feed(samples, 99)
    if labelled:
        feed(samples, 100)
    else:
        with pytest.raises(NothingLabelled, match='the last 100 batches'):
            feed(samples, 100)


@pytest.mark.parametrize('options, least', [
    (dict(patience=3), 3), (dict(epoch=40), 40), (dict(epoch=2), 10)])
def test_patience_is_a_setting_or_an_epoch_or_ten(options, least):
    pixels = [mask(255, 255)]
    feed(pixels, least - 1, **options)
    with pytest.raises(NothingLabelled, match=f'the last {least} batches'):
        feed(pixels, least, **options)


def test_a_short_epoch_of_pictures_without_objects_goes_on():
    feed([boxes()], 99, epoch=12)
    with pytest.raises(NothingLabelled, match='the last 100 batches'):
        feed([boxes()], 100, epoch=12)


def test_one_label_makes_the_count_start_again():
    runner = SimpleNamespace(model=nn.Identity(), iter=0,
                             train_dataloader=range(1000))
    hook = LabelsHook(patience=3)
    hook.before_train(runner)
    for index in range(9):
        sample = boxes() if index % 3 else boxes([1, 1, 2, 2])
        hook.after_train_iter(runner, index, dict(data_samples=[sample]), {})
        assert hook.empty == index % 3


def test_batches_of_other_tasks_are_left_alone():
    runner = SimpleNamespace(model=nn.Identity(), iter=0,
                             train_dataloader=range(1))
    hook = LabelsHook(patience=1)
    hook.before_train(runner)
    for batch in (None, dict(inputs=1, label=2), [1, 2],
                  dict(data_samples=[DataSample()])):
        hook.after_train_iter(runner, 0, batch, {})
        assert hook.empty == 0


@pytest.mark.parametrize('value', [0, -1, 1.5, None])
def test_patience_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match=f'patience.*{value}'):
        LabelsHook(patience=value)


def test_boxes_without_area_are_found_in_every_form():
    rotated = boxes()
    rotated.gt_instances = InstanceData(bboxes=RotatedBoxes(
        torch.tensor([[5., 5, 4, 4, 0], [9., 9, 4, 0, 0]])))
    batch = dict(data_samples=[boxes([1, 1, 2, 2]), boxes([3, 3, 3, 9]),
                               boxes(), rotated])
    flat, turned = flat_boxes(batch)
    assert flat == 'a.png (1, such as [3.0, 3.0, 3.0, 9.0])'
    assert '[9.0, 9.0, 4.0, 0.0, 0.0]' in turned
    assert flat_boxes(dict(inputs=1)) == []


@runs.MODELS.register_module(force=True)
class LosesBoxes(runs.TinyClassifier):
    """One part of its loss is nan."""

    def forward(self, inputs, label, data_samples=None, mode='loss'):
        found = super().forward(inputs, label, mode)
        if mode == 'loss':
            found['loss_bbox'] = found['loss'] * torch.nan
            found['loss_cls'] = found.pop('loss')
        return found


@runs.DATASETS.register_module(force=True)
class FlatBoxes(runs.NoisyPictures):
    """Pictures with a box of no height."""

    def __getitem__(self, index: int) -> dict:
        return dict(super().__getitem__(index),
                    data_samples=boxes([1, 4, 9, 4]))


@FUNCTIONS.register_module(force=True)
def keep_samples(items) -> dict:
    """Batches of tensors, and a list of data samples."""
    return dict(
        {k: torch.stack([i[k] for i in items]) for k in ('inputs', 'label')},
        data_samples=[i['data_samples'] for i in items])


def test_nan_names_its_part_and_the_boxes_of_the_batch(base, tmp_path):
    cfg = runs.config(tmp_path, base)
    cfg['model']['type'] = 'LosesBoxes'
    with pytest.raises(NonFiniteLoss) as error:
        runs.start(cfg).train()
    told = str(error.value)
    assert 'loss_bbox is nan' in told and 'loss_cls is' not in told
    assert 'learning rate' in told  # nothing else is known
    cfg['train_dataloader'].update(
        dataset=dict(type='FlatBoxes'),
        collate_fn=dict(type='keep_samples'))
    with pytest.raises(NonFiniteLoss) as error:
        runs.start(cfg).train()
    told = str(error.value)
    assert 'a.png (1, such as [1.0, 4.0, 9.0, 4.0])' in told
    assert 'FilterAnnotations' in told and 'learning rate' not in told


@runs.METRICS.register_module(force=True)
class NotANumber(runs.BaseMetric):
    """The better metric is nan at first, the other always a number."""

    def process(self, data_batch, data_samples) -> None:
        self.results.append(0)

    def compute_metrics(self, results) -> dict:
        values = [float('nan'), .5, float('nan')]
        NotANumber.calls += 1
        return dict(iou=values[NotANumber.calls - 1], table=[1, 2])


def test_metric_that_is_nan_is_said_and_never_becomes_the_best(
        base, tmp_path):
    NotANumber.calls = 0
    cfg = runs.config(tmp_path, base, val_evaluator=dict(type='NotANumber'),
                      hook=dict(interval=1, save_best='iou', rule='greater'))
    cfg['train_cfg']['val_interval'] = 1
    runs.start(cfg).train()
    assert [p.name for p in tmp_path.glob('best*')] == [
        'best_iou_epoch_2.pth']
    log = ''.join(p.read_text() for p in tmp_path.glob('*/*.log'))
    assert 'the metrics iou are nan' in log
