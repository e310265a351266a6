"""Checkpoints of real runs hold what trained, and bring it all back."""
from pathlib import Path

import pytest
import torch
from deltas import MICRO, make_base, micro, same_state
from helpers import TUNERS, nano, new_name, save_plain_base
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.models import SwinTransformer
from torch import nn
from torch.utils.data import Dataset

from mona_mm.checkpoint import read_checkpoint
from mona_mm.errors import CheckpointError, ConfigError


class Pictures(Dataset):
    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 2

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        return dict(inputs=torch.randn(3, 32, 32, generator=generator),
                    target=float(i))


class Model(BaseModel):
    """A backbone with a small head, and a buffer that training changes."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        width = backbone.num_features[-1]
        self.head = nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, 1))

    def forward(self, inputs, target, mode='tensor'):
        maps = self.backbone(torch.stack(inputs))
        found = self.head(maps[-1].mean((2, 3)))[:, 0]
        if mode == 'loss':
            target = torch.tensor(target)
            return dict(loss=(found - target).square().mean()
                        + sum(m.square().mean() for m in maps))
        return found


class Falling(BaseMetric):
    """A score that is best at the first evaluation."""
    rounds = 0

    def process(self, data_batch, data_samples):
        self.results.append(0.)

    def compute_metrics(self, results):
        Falling.rounds += 1
        return dict(score=-Falling.rounds)


def runner_for(backbone, work_dir, epochs=1, hooks=(), checkpoint=(),
               **kwargs) -> Runner:
    loader = dict(
        dataset=Pictures(), batch_size=2, collate_fn=pseudo_collate,
        sampler=dict(type='DefaultSampler', shuffle=False))
    torch.manual_seed(3)
    return Runner(
        Model(backbone), str(work_dir), train_dataloader=loader,
        val_dataloader=loader, val_evaluator=[Falling()],
        train_cfg=dict(by_epoch=True, max_epochs=epochs), val_cfg=dict(),
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=.01),
            constructor='mona_mm.DeltaOptimWrapperConstructor'),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', interval=1, **dict(checkpoint)),
            delta=dict(type='mona_mm.DeltaCheckpointHook')),
        custom_hooks=list(hooks), randomness=dict(seed=3),
        experiment_name=new_name(work_dir), **kwargs)


@pytest.fixture
def base(tmp_path):
    return make_base(tmp_path / 'base.pth')


def on(base, tuner='Mona', **kwargs):
    torch.manual_seed(7)
    return micro(tuner, drop_path_rate=0., init_cfg=dict(
        type='Pretrained', checkpoint=str(base)), **kwargs)


MONA = dict(type='Mona', bottleneck_dims=8, drop_rate=0.)


#: Adapters as narrow as the quickstart's: few parameters in many tensors.
NARROW = {
    'Adapter': dict(bottleneck_dims=16), 'AdaptFormer': dict(
        bottleneck_dims=16), 'LoRA': dict(rank=16),
    'LoRand': dict(branches=2, kernel_dims=4), 'Mona': dict(
        bottleneck_dims=16)}


@pytest.mark.parametrize('tuner', TUNERS)
def test_file_is_hardly_larger_than_what_trained(tuner, tmp_path):
    save_plain_base(tmp_path / 'base.pth', out_indices=())
    tuner = dict(type=tuner, **NARROW.get(tuner, {}))
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'base.pth'))
    runner = runner_for(nano(tuner, init_cfg=init_cfg), tmp_path,
                        checkpoint=dict(save_optimizer=False))
    runner.train()
    trained = sum(
        p.numel() for p in runner.model.parameters() if p.requires_grad)
    size = (tmp_path / 'epoch_1.pth').stat().st_size
    assert size <= 1.05 * 4 * trained + 64 * 1024
    fresh = Model(nano(tuner, allow_random_base=False)).eval()
    state = read_checkpoint(str(tmp_path / 'epoch_1.pth'))['state_dict']
    fresh.load_state_dict(state)
    assert same_state(fresh, runner.model)
    storages = {v.untyped_storage().data_ptr() for v in state.values()}
    assert len(storages) == len(state)


def test_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path, base):
    whole = runner_for(on(base, MONA), tmp_path / 'whole', epochs=3)
    whole.train()
    runner_for(on(base, MONA), tmp_path / 'a', epochs=2).train()
    resumed = runner_for(on(base, MONA), tmp_path / 'b', epochs=3,
                         resume=True, load_from=str(tmp_path / 'a/epoch_2.pth'
                                                    ))
    resumed.train()
    assert same_state(resumed.model, whole.model)
    assert 'optimizer' in read_checkpoint(str(tmp_path / 'b/epoch_3.pth'))


@pytest.mark.parametrize('begin', [0, 3])
def test_averaged_weights_are_saved_resumed_and_tested(
        begin, tmp_path, base):
    ema = dict(type='EMAHook', momentum=.5, begin_iter=begin)
    runner = runner_for(on(base, MONA), tmp_path / 'a', epochs=4,
                        hooks=[ema])
    runner.train()
    path = str(tmp_path / 'a/epoch_4.pth')
    content = read_checkpoint(path)
    assert 'backbone.stages.0.blocks.0.norm1.weight' not in content[
        'state_dict']
    assert not any(
        k.endswith(('norm1.weight', '_index'))
        for k in content['ema_state_dict'])
    (ours, ) = (h for h in runner.hooks if isinstance(h, EMAHook))
    resumed = runner_for(on(base, MONA), tmp_path / 'b', epochs=4,
                         hooks=[ema], resume=True, load_from=path)
    resumed.train()
    (theirs, ) = (h for h in resumed.hooks if isinstance(h, EMAHook))
    assert same_state(resumed.model, runner.model)
    assert same_state(theirs.ema_model, ours.ema_model)
    tested = runner_for(micro(MONA), tmp_path / 'c', load_from=path)
    tested.load_or_resume()
    assert same_state(tested.model, ours.ema_model.module)


def test_averaging_hook_that_comes_too_late_is_refused(tmp_path, base):
    hook = dict(type='EMAHook', priority='LOWEST')
    with pytest.raises(ConfigError, match='EMAHook has the priority LOWEST'):
        runner_for(on(base), tmp_path, hooks=[hook]).train()


def test_options_of_the_checkpoint_hook_keep_working(tmp_path, base):
    Falling.rounds = 0
    runner = runner_for(on(base), tmp_path, epochs=3, checkpoint=dict(
        save_best='score', rule='greater', max_keep_ckpts=1, save_last=True,
        published_keys=['meta', 'state_dict']))
    runner.train()
    names = {p.name for p in Path(tmp_path).glob('*.pth')} - {'base.pth'}
    assert {n for n in names if '-' not in n} == {
        'epoch_3.pth', 'best_score_epoch_1.pth'}
    published = [n for n in names if '-' in n]
    assert len(published) == 2
    fresh = Model(micro())
    for name in published:
        content = read_checkpoint(str(tmp_path / name))
        assert set(content) == {'meta', 'state_dict'}
        fresh.load_state_dict(content['state_dict'])
        assert same_state(fresh, runner.model) == ('epoch_3' in name)


def test_full_checkpoint_holds_the_base(tmp_path, base):
    runner = runner_for(on(base), tmp_path)
    runner.hooks[-1].full_checkpoint = True
    assert type(runner.hooks[-1]).__name__ == 'DeltaCheckpointHook'
    runner.train()
    state = read_checkpoint(str(tmp_path / 'epoch_1.pth'))['state_dict']
    own = {k: v for k, v in runner.model.state_dict().items()
           if not k.endswith('_index')}
    assert state.keys() == own.keys()
    base.unlink()
    fresh = Model(micro())
    fresh.load_state_dict(state)
    assert same_state(fresh, runner.model)


@pytest.mark.parametrize('how', ['random', 'full checkpoint'])
def test_base_without_a_source_stays_in_and_that_is_said_once(
        how, tmp_path, base):
    if how == 'random':
        runner = runner_for(micro(allow_random_base=True), tmp_path, epochs=2)
    else:
        state = Model(on(make_base(tmp_path / 'other.pth', seed=4)))
        state.backbone.init_weights()
        torch.save(state.state_dict(), tmp_path / 'full.pth')
        runner = runner_for(on(base), tmp_path, epochs=2,
                            load_from=str(tmp_path / 'full.pth'))
    runner.train()
    (log, ) = tmp_path.glob('*/*.log')
    assert log.read_text().count('checkpoints are saved in full') == 1
    fresh = Model(micro(allow_random_base=True))
    fresh.load_state_dict(
        read_checkpoint(str(tmp_path / 'epoch_2.pth'))['state_dict'])
    assert same_state(fresh, runner.model)


def test_start_from_the_delta_of_another_task_keeps_its_base(tmp_path, base):
    runner_for(on(base, MONA), tmp_path / 'a').train()
    other = make_base(tmp_path / 'other.pth', seed=4)
    second = runner_for(on(other, MONA), tmp_path / 'b',
                        load_from=str(tmp_path / 'a/epoch_1.pth'))
    second.train()
    assert second.model.backbone.base.source == str(base)
    expected = torch.load(base)['state_dict']
    own = second.model.backbone.state_dict()
    assert all(torch.equal(own[k], v) for k, v in expected.items())


def test_record_says_what_it_was_made_with(tmp_path, base):
    runner_for(on(base, MONA), tmp_path).train()
    state = read_checkpoint(str(tmp_path / 'epoch_1.pth'))['state_dict']
    record = state._metadata['backbone']['mona_mm']
    assert record['tuner'] == dict(
        type='Mona', bottleneck_dims=8, kernel_sizes=[3, 5, 7],
        scaled_norm=True, drop_rate=0., linear_init='trunc_normal')
    assert record['base']['source'] == str(base)
    versions = state._metadata['']['mona_mm_file']['versions']
    assert versions['torch'] == torch.__version__.split('+')[0]


def test_delta_is_refused_by_a_plain_backbone(tmp_path, base):
    runner_for(on(base), tmp_path / 'a').train()
    plain = SwinTransformer(arch=MICRO, pad_small_map=True)
    with pytest.raises(CheckpointError, match='epoch_1.pth.*merge_delta'):
        runner_for(plain, tmp_path / 'b', load_from=str(
            tmp_path / 'a/epoch_1.pth')).train()
