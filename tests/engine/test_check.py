"""The trainability check, in real training loops."""
import pytest
import torch
from helpers import nano
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn


class Model(BaseModel):
    """A tuned backbone and a head, trained on random pictures."""

    def __init__(self, fault=None):
        super().__init__()
        self.backbone = nano('Mona')
        self.head = nn.Linear(128, 1)
        self.unused = nn.Linear(2, 2) if fault == 'unused' else nn.Identity()
        self.fault = fault
        self.seen = 0

    def forward(self, inputs, mode='loss'):
        if self.fault in ('leak', 'leak in the dark'):
            with torch.no_grad():
                self.backbone.patch_embed.norm.bias += 1
        feature = self.backbone(inputs)[-1].mean((2, 3))
        loss = self.head(feature).square().mean()
        if self.fault in ('no objects yet', 'leak in the dark'):
            # As of a box branch: its gradients are zeros, not missing.
            self.seen += 1
            loss = loss * float(self.seen > 5)
        return dict(loss=loss)


def run(tmp_path, fault=None, after=2, steps=3, lr=1e-3, every=1):
    Runner(
        Model(fault),
        work_dir=str(tmp_path),
        experiment_name=tmp_path.name,
        train_dataloader=dict(
            dataset=[(torch.randn(3, 32, 32), ) for _ in range(2 * steps)],
            batch_size=2,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(
            constructor='mona_mm.DeltaOptimWrapperConstructor',
            accumulative_counts=every,
            optimizer=dict(type='AdamW', lr=lr)),
        custom_hooks=[
            dict(type='mona_mm.TrainabilityCheckHook', after=after)],
        default_hooks=dict(checkpoint=None)).train()
    return next(tmp_path.glob('*/*.log')).read_text()


def test_sound_model_passes_and_says_so(tmp_path):
    assert 'no frozen one has' in run(tmp_path)


def test_parameter_without_a_gradient_is_named(tmp_path):
    with pytest.raises(RuntimeError, match='no gradient.*unused.weight'):
        run(tmp_path, 'unused')


def test_frozen_parameter_that_changed_is_named(tmp_path):
    with pytest.raises(RuntimeError,
                       match='frozen but changed.*patch_embed.norm.bias'):
        run(tmp_path, 'leak')


def test_parameter_that_does_not_move_is_named(tmp_path):
    with pytest.raises(RuntimeError, match='did not move'):
        run(tmp_path, lr=0.)


def test_training_too_short_for_the_check_is_told(tmp_path):
    assert 'nothing was checked' in run(tmp_path, after=9)


def test_steps_of_the_optimizer_are_counted_not_iterations(tmp_path):
    # 12 iterations are 2 steps of 4 and one of the 4 that are left.
    text = run(tmp_path, after=3, steps=12, every=4)
    assert 'after 3 steps every parameter' in text


def test_no_step_yet_is_no_fault(tmp_path):
    assert 'ended after 1 steps of the optimizer, before step 2' in run(
        tmp_path, after=2, steps=4, every=16)


def test_gradients_of_zero_are_waited_for(tmp_path):
    text = run(tmp_path, 'no objects yet', after=2, steps=9)
    assert 'after 2 steps: cannot tell yet' in text
    assert 'after 4 steps: cannot tell yet' in text
    assert 'after 8 steps every parameter' in text


def test_gradients_that_stay_zero_are_told_at_the_end(tmp_path):
    text = run(tmp_path, 'no objects yet', after=2, steps=3)
    assert 'could not' not in text and 'cannot tell yet' in text
    assert 'training ended before it could be told whether' in text
    assert 'head.weight' in text


def test_fault_is_named_while_others_cannot_be_told(tmp_path):
    with pytest.raises(RuntimeError, match='frozen but changed'):
        run(tmp_path, 'leak in the dark')
